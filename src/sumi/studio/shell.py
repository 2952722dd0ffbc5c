"""The only parts of Gradio that the server exposes: the page and its files.

    GET page, theme, assets -> Gradio -> no foreign addresses, own style and script, a policy by hashes

Gradio's server also takes uploads, reads files, fetches addresses and runs functions. The page needs none of that,
because everything it does goes through the API, so those routes return 404. The Content-Security-Policy names the
page's inline scripts by their hashes; no other inline script runs, and strings are never evaluated.
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
_FOREIGN = re.compile(r'<meta[^>]*(?:property="og:|name="twitter:)[^>]*>|<link rel="manifest"[^>]*>')
_INLINE = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL)


class Shell:
    """An ASGI middleware around Gradio's application."""

    def __init__(self, gradio: ASGIApp) -> None:
        self.gradio = gradio

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on requests for the page and its files; everything else is 404."""
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or scope["method"] != "GET" or not OPEN.fullmatch(path) or ".." in path:
            raise ApiError(404, "there is no such path")
        if path.startswith("/assets/"):
            await self.gradio(scope, receive, cache_forever(send))
        elif path in ("", "/"):
            await self.gradio(scope, receive, PageRewriter(send))
        else:
            await self.gradio(scope, receive, send)


def cache_forever(send: Send) -> Send:
    """Return a `send` that lets browsers cache an answer for good, because its name changes with its content."""

    async def send_cached(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["cache-control"] = "public, max-age=31536000, immutable"
        await send(message)

    return send_cached


class PageRewriter:
    """Collects Gradio's page, and sends it as ours."""

    def __init__(self, send: Send) -> None:
        self.send, self.html = send, bytearray()
        self.head: Message = {}

    async def __call__(self, message: Message) -> None:
        """Take one message of Gradio's."""
        if message["type"] == "http.response.start":
            self.head = message
            return
        self.html += message.get("body", b"")
        if message.get("more_body", False):
            return
        page, policy = rewrite_page(self.html.decode())
        headers = MutableHeaders(scope=self.head)
        headers["content-length"], headers["content-security-policy"] = str(len(page)), policy
        await self.send(self.head)
        await self.send({"type": "http.response.body", "body": page})


def rewrite_page(html: str) -> tuple[bytes, str]:
    """Return Gradio's page with our head and without foreign addresses, and the policy that goes with it."""
    html = _FOREIGN.sub("", html).replace("</head>", f"{HEAD}</head>", 1)
    digests = (hashlib.sha256(script.encode()).digest() for script in _INLINE.findall(html))
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return html.encode(), POLICY.format(hashes=hashes)
