"""What of Gradio is let through: the page, and the files that it is made of.

    GET page, theme, assets -> Gradio -> no address of others, own style and script, a policy by hashes

Gradio's server also takes uploads, reads files, fetches addresses and runs functions. The page needs none of it, since
all that it does goes through the API and its doors, so none of it is there. The page's inline scripts are named by
their hashes in its Content-Security-Policy, and nothing else inline runs; strings are never evaluated.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sumi.serving.errors import ApiError

__all__ = ["Shell"]

OPEN: Final = re.compile(r"/?|/theme\.css|/(?:assets|static)/[\w./-]+", re.ASCII)
HEAD: Final = """\
<link rel="icon" href="own/seal.svg" type="image/svg+xml">
<link rel="stylesheet" href="own/studio.css">
<link rel="stylesheet" href="own/viewer.css">
<script type="module" src="own/studio.js"></script>
<meta name="description" content="Words in, pictures out.">
"""
POLICY: Final = (
    "default-src 'none'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:;"
    " font-src 'self'; connect-src 'self'; base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
)
_OTHERS = re.compile(r'<meta[^>]*(?:property="og:|name="twitter:)[^>]*>|<link rel="manifest"[^>]*>')
_INLINE = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL)


class Shell:
    """An ASGI layer around Gradio's application."""

    def __init__(self, gradio: ASGIApp) -> None:
        self.gradio = gradio

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what belongs to the page; for all else there is nothing here."""
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or scope["method"] != "GET" or not OPEN.fullmatch(path) or ".." in path:
            raise ApiError(404, "there is nothing of that name")
        if path.startswith("/assets/"):
            await self.gradio(scope, receive, kept(send))
        elif path in ("", "/"):
            await self.gradio(scope, receive, Rewritten(send))
        else:
            await self.gradio(scope, receive, send)


def kept(send: Send) -> Send:
    """Let browsers keep an answer whose name changes with what is in it."""

    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["cache-control"] = "public, max-age=31536000, immutable"
        await send(message)

    return told


class Rewritten:
    """Takes the page whole, and sends it as ours."""

    def __init__(self, send: Send) -> None:
        self.send, self.html = send, bytearray()
        self.start: Message = {}

    async def __call__(self, message: Message) -> None:
        """Hear one message of Gradio's."""
        if message["type"] == "http.response.start":
            self.start = message
            return
        self.html += message.get("body", b"")
        if message.get("more_body", False):
            return
        page, policy = rewritten(self.html.decode())
        headers = MutableHeaders(scope=self.start)
        headers["content-length"], headers["content-security-policy"] = str(len(page)), policy
        await self.send(self.start)
        await self.send({"type": "http.response.body", "body": page})


def rewritten(html: str) -> tuple[bytes, str]:
    """Return Gradio's page with our head and without the addresses of others, and the policy that goes with it."""
    html = _OTHERS.sub("", html).replace("</head>", f"{HEAD}</head>", 1)
    digests = (hashlib.sha256(script.encode()).digest() for script in _INLINE.findall(html))
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return html.encode(), POLICY.format(hashes=hashes)
