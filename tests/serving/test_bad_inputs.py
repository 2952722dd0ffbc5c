"""Hostile input gets a result or an error of the API: never a 5xx, and never no answer."""

from __future__ import annotations

import io
import socket
from collections.abc import Callable, Iterator

import httpx
import live_server
import pytest
from bad_pictures import PICTURES, Case
from bad_requests import REQUESTS
from live_server import PATIENCE_S, Live
from PIL import Image

from sumi import Sumi

CLASSES = (*PICTURES, *REQUESTS)


@pytest.fixture(scope="module")
def live(tiny: Sumi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live_server.serving(tiny, tmp_path_factory.mktemp("bad")) as server:
        yield server


def fault(case: Case, reply: httpx.Response) -> str | None:
    """Return what is wrong with an answer."""
    if reply.status_code >= 500 or (case.refused and reply.status_code < 400):
        return f"{case.name}: {reply.status_code}: {reply.text[:100]}"
    if reply.status_code >= 400:
        error = reply.json().get("error", {})
        fields = error.keys() - {"suggestions"}
        if fields != {"message", "type", "param", "code"} or not error["message"] or "\n" in error["message"]:
            return f"{case.name}: {reply.text[:200]}"
        if any(word in reply.text for word in ("Traceback", ".py", "site-packages", "sqlalchemy")):
            return f"{case.name} tells of the inside: {reply.text[:200]}"
    return None


# Starlette leaves the temporary file of a part that never ended to whoever collects garbage.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("cases", CLASSES)
def test_server_answers_hostile_input_with_an_api_error(cases: Callable[[], Iterator[Case]], live: Live) -> None:
    with live.client() as http:
        faults = [fault(case, http.request(case.method, case.path, **case.sent)) for case in cases()]
        assert list(filter(None, faults)) == []
        good = http.post("/v1/images/generations", json={"prompt": "a fox", "size": "16x16", "steps": 1})
        assert good.status_code == 200  # nothing was broken by it


def test_hostile_inputs_cover_hundreds_of_cases() -> None:
    assert sum(1 for cases in CLASSES for _ in cases()) >= 300


RAW = [
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET http" + b"://example.org/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n",
    b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /\0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /v1/../../x HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : 127.0.0.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    b"\0" * 1000 + b"\r\n\r\n",
]


@pytest.mark.parametrize("sent", RAW, ids=range(len(RAW)))
def test_server_with_malformed_http_answers_400(live: Live, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", live.settings.port), timeout=PATIENCE_S) as connection:
        connection.sendall(sent)
        answer = b""
        while b'"error"' not in answer and (piece := connection.recv(2**16)):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 4") and b'"error"' in answer


def test_upload_is_turned_upright_and_stripped_of_metadata(live: Live) -> None:
    """The store keeps a picture's pixels, upright, and nothing else of its file."""
    image = Image.new("RGB", (40, 20), "red")
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "where I live"
    file = io.BytesIO()
    image.save(file, format="JPEG", exif=exif)
    with live.client() as http:
        body = {"prompt": "a fox", "size": "16x16"}
        reply = http.post("/v1/images/edits", data=body, files={"image": ("a.jpg", file.getvalue(), "image/jpeg")})
    assert reply.status_code == 200
    kept = [live.store.files.read(digest) for digest in live.store.files.digests()]
    uploads = [Image.open(io.BytesIO(data)) for data in kept if b"sumi" not in data]
    assert (20, 40) in [upload.size for upload in uploads] and not any(upload.info for upload in uploads)
    assert not any(b"where I live" in data for data in kept)
