"""A model hub on loopback: the part of the hub's protocol that `huggingface_hub` speaks to list and fetch files."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "5b0af8a2" * 5


@dataclass
class Hub:
    """What the hub has, and what it was asked. break_after: bytes of a body to send before the line breaks, once."""

    files: dict[str, bytes] = field(default_factory=dict)
    commit: str = COMMIT
    gated: bool = False
    break_after: dict[str, int] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    """Answers for one model, owner/tiny."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.answer(body=True)

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def answer(self, body: bool) -> None:
        """Answer a listing, or a file or a range of one."""
        hub, path = self.hub, unquote(urlsplit(self.path).path).lstrip("/")
        hub.requests.append(f"{self.command} {path}")
        known = ("main", "v1", hub.commit)
        if listing := re.fullmatch(r"api/models/owner/tiny(?:/revision/([^/]+)|/tree/([^/]+)|)", path):
            revision = listing.group(1) or listing.group(2) or "main"
            if revision not in known:
                return self.fail(404, "RevisionNotFound", body)
            if hub.gated:
                return self.fail(403, "GatedRepo", body)
            if listing.group(2):
                files = hub.files.items()
                rows = [{"type": "file", "path": name, "size": len(data), "oid": etag(data)} for name, data in files]
                return self.send(200, json.dumps(rows).encode(), body)
            siblings = [{"rfilename": name} for name in hub.files]
            listed = {"id": "owner/tiny", "sha": hub.commit, "siblings": siblings, "private": False, "tags": []}
            return self.send(200, json.dumps(listed).encode(), body)
        if file := re.fullmatch(r"owner/tiny/resolve/([^/]+)/(.+)", path):
            if file.group(1) not in known:
                return self.fail(404, "RevisionNotFound", body)
            if file.group(2) not in hub.files:
                return self.fail(404, "EntryNotFound", body)
            return self.send_file(file.group(2), body)
        return self.fail(404, "RepoNotFound", body)

    def send_file(self, name: str, body: bool) -> None:
        """Send a file or the rest of it, or break the line on the way."""
        data = self.hub.files[name]
        headers = {"ETag": f'"{etag(data)}"', "X-Repo-Commit": self.hub.commit}
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked:
            self.hub.ranges.append(f"{name} from {asked.group(1)}")
            begin = int(asked.group(1))
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
            return self.send(206, data[begin:], body, headers)
        stop = self.hub.break_after.pop(name, None) if body else None
        return self.send(200, data, body, headers, stop)

    def fail(self, status: int, code: str, body: bool) -> None:
        """Refuse as the hub does, with a code in a header."""
        self.send(status, json.dumps({"error": code}).encode(), body, {"X-Error-Code": code})

    def send(
        self, status: int, data: bytes, body: bool, headers: dict[str, str] | None = None, stop: int | None = None
    ) -> None:
        """Send an answer; `stop` bytes of it, if told to break."""
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json", "Accept-Ranges": "bytes"} | (headers or {})).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data if stop is None else data[:stop])
        if stop is not None:
            self.close_connection = True


def etag(data: bytes) -> str:
    """The name of a file's content."""
    return hashlib.sha256(data).hexdigest()


@contextmanager
def hub_server(hub: Hub) -> Iterator[Hub]:
    """Serve a hub on a free port of loopback."""
    handler = type("BoundHandler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield hub
    finally:
        server.shutdown()
        server.server_close()
