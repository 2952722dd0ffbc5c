"""Clients that send slowly, that hold many connections, or that leave in the middle of a request."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import live_server
import pytest
from live_server import PATIENCE_S, Live, file_of
from PIL import Image
from pydantic import BaseModel

from sumi import Sumi
from sumi.serving import admission, request_body
from sumi.serving import slow_clients as clients
from sumi.serving.log_rate import PERIOD_S, LogRateFilter

PICTURE = {"image": ("a.png", file_of(Image.linear_gradient("L").convert("RGBA")), "image/png")}
JOB = {"kind": "generate", "prompt": "a fox", "steps": 1, "size": 16}
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def live(tiny: Sumi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live_server.serving(tiny, tmp_path_factory.mktemp("admission")) as server:
        yield server


def slow(live: Live, path: str = "/v1/jobs", length: int = 5000, token: str | None = "") -> socket.socket:
    """A client that has sent the head of a request and one byte of its body."""
    connection = socket.create_connection(("127.0.0.1", live.settings.port))
    key = "" if token is None else f"Authorization: Bearer {token or live.token}\r\n"
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{key}Content-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {length}\r\n\r\n{{".encode())
    connection.settimeout(PATIENCE_S)
    return connection


def until(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def answered(connection: socket.socket) -> bytes:
    """All that the server says until it ends the connection."""
    said = b""
    with connection:
        try:
            while piece := connection.recv(2**16):
                said += piece
        except ConnectionError:
            pass
    return said


@contextmanager
def a_job_that_lasts(live: Live, token: str = "") -> Iterator[str]:
    with live.client(token) as http:
        job = http.post("/v1/jobs", json=JOB | {"n": 64, "steps": 1000}).json()["id"]
        yield job
        http.post(f"/v1/jobs/{job}/cancel")


def test_admission_with_slow_senders_keeps_active_places_free(tiny: Sumi, tmp_path: Path) -> None:
    with live_server.serving(tiny, tmp_path, max_requests=1) as live, live.client() as http, ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(slow(live))
        until(lambda: live.traffic.active >= 10)
        assert http.get("/health").status_code == http.get("/v1/models").status_code == 200
        assert http.post("/v1/jobs", json=JOB).status_code == 202


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/images/edits"])
def test_admission_with_slow_uploads_aborts_the_slowest(
    tiny: Sumi, tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with live_server.serving(tiny, tmp_path, large_arriving=3) as live, live.client() as http, ExitStack() as stack:
        held = []
        for number in range(2):  # one after the other, so that the first is the slowest
            held.append(stack.enter_context(slow(live, path, 2**21)))
            until(lambda number=number: live.traffic.active == number + 1)
        monkeypatch.setattr(admission, "SLOW_S", 0.0)
        body = json.dumps(JOB).encode() + b" " * 2**20
        assert http.post("/v1/jobs", content=body, headers=JSON).status_code == 202
        said = answered(held[0])  # nothing where the end of the connection overtook the answer
        assert not said or b"HTTP/1.1 408" in said


def test_body_that_arrives_slowly_is_answered_408_at_its_deadline(tiny: Sumi, tmp_path: Path) -> None:
    with live_server.serving(tiny, tmp_path, body_timeout_s=0.5) as live, slow(live, length=10**6) as connection:
        connection.settimeout(0.05)
        said, deadline = b"", time.monotonic() + PATIENCE_S
        while not said and time.monotonic() < deadline:
            connection.sendall(b" " * 200)
            try:
                said = connection.recv(2**16)
            except TimeoutError:
                continue
        assert said.startswith(b"HTTP/1.1 408") and b'"code":"request_timeout"' in said


def test_connection_of_a_refused_upload_is_closed(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "LINGER_S", 0.2)
    with slow(live, token=None) as connection:
        for _ in range(400):  # a byte now and then does not keep it either
            time.sleep(0.05)
            try:
                connection.sendall(b" ")
            except ConnectionError:
                break
        else:
            pytest.fail("the connection lives on")


def test_admission_of_one_key_leaves_places_for_another(tiny: Sumi, tmp_path: Path) -> None:
    with live_server.serving(tiny, tmp_path, max_requests=4) as live, ExitStack() as stack:
        token = live.key().token
        job = stack.enter_context(a_job_that_lasts(live, token))
        first, second = stack.enter_context(live.client(token)), stack.enter_context(live.client())
        for _ in range(2):
            assert stack.enter_context(first.stream("GET", f"/v1/jobs/{job}/events")).status_code == 200
        refused = first.get("/v1/models")
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "key_share_exceeded")
        assert second.get("/v1/models").status_code == 200


def test_event_streams_of_one_key_are_limited(tiny: Sumi, tmp_path: Path) -> None:
    with live_server.serving(tiny, tmp_path, require_keys=False, streams=2) as live, ExitStack() as stack:
        job = stack.enter_context(a_job_that_lasts(live))
        http = stack.enter_context(live.client())
        for _ in range(2):
            assert stack.enter_context(http.stream("GET", f"/v1/jobs/{job}/events")).status_code == 200
        refused = http.get(f"/v1/jobs/{job}/events")
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_streams")
        assert http.get(f"/v1/jobs/{job}").status_code == 200


def test_silent_connections_are_closed_for_new_ones(tiny: Sumi, tmp_path: Path) -> None:
    with live_server.serving(tiny, tmp_path, connections=8) as live, ExitStack() as stack:
        for _ in range(40):
            silent = stack.enter_context(socket.create_connection(("127.0.0.1", live.settings.port)))
            silent.sendall(b"G")
        for _ in range(3):
            with live.client() as http:
                assert http.get("/health").status_code == http.get("/v1/models").status_code == 200


def test_connection_limit_follows_the_limit_of_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    limits = [1024, 1024]
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: limits.__setitem__(slice(None), new))
    assert clients.raise_connection_limit() == 768
    limits[:] = [64, 64]
    assert clients.raise_connection_limit() == 32
    limits[:] = [1024, 2**20]
    assert clients.raise_connection_limit() == clients.MAX_CONNECTIONS and limits[0] > clients.MAX_CONNECTIONS


# Leaving in the middle, strange names, HEAD. -----------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/images/generations", "/v1/images/edits", "/v1/jobs", "/v1/moderations"])
def test_client_that_leaves_during_a_body_logs_no_error(
    live: Live, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = live.traffic.answered["POST", path, 499]
    slow(live, path).close()
    until(lambda: live.traffic.answered["POST", path, 499] == before + 1)
    assert not [status for _, _, status in live.traffic.answered if status >= 500]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("path", ["/v1/jobs/", "/studio/assets/", "/v1/gallery/", "/v1/files/", "/"])
def test_path_segment_over_255_bytes_is_404(live: Live, path: str) -> None:
    with live.client() as http:
        for name in ("a" * 300, "é" * 200, "a" * 300 + "/events"):
            assert http.get(path + name).status_code == 404


def test_head_request_returns_the_headers_of_get(live: Live) -> None:
    with live.client() as http, live.client(None) as nobody:
        for path in ("/health", "/ready", "/v1/models"):
            head, get = http.head(path), http.get(path)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-length"] == get.headers["content-length"]
        assert nobody.head("/health", headers={"Host": "10.244.1.7:8080"}).status_code == 200
        assert nobody.head("/v1/models").status_code == 401
        assert http.head("/v1/jobs").status_code == 405


# Large bodies. -----------------------------------------------------------------------------------------------------


def test_json_body_with_too_much_structure_is_refused_unread(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []
    monkeypatch.setattr(request_body, "validate_body", read.append)
    data = b'{"kind": "generate", "images": [' + b"{}," * (5 * 2**20) + b"{}]}"
    with live.client() as http:
        for path in ("/v1/jobs", "/v1/images/edits"):
            reply = http.post(path, content=data, headers=JSON)
            assert reply.status_code == 400 and "commas, colons and brackets" in reply.json()["error"]["message"]
    assert read == []


def test_server_answers_others_while_it_reads_a_body(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, answered, validated = threading.Event(), threading.Event(), request_body.validate_body

    def slowly(read: Callable[[], BaseModel]) -> BaseModel:
        begun.set()
        assert answered.wait(PATIENCE_S)
        return validated(read)

    monkeypatch.setattr(request_body, "validate_body", slowly)
    with live.client() as http, live.client() as other, ThreadPoolExecutor() as pool:
        job = pool.submit(http.post, "/v1/jobs", json=JOB)
        assert begun.wait(PATIENCE_S)
        assert other.get("/health").status_code == 200
        answered.set()
        assert job.result().status_code == 202


def test_json_body_with_pictures_has_a_lower_limit_than_a_form(live: Live) -> None:
    with live.client() as http:
        reply = http.post("/v1/jobs", content=b'{"prompt": "' + b"a" * (33 * 2**20), headers=JSON)
        assert (reply.status_code, reply.json()["error"]["message"][:30]) == (413, "the request is over 32 MB, the")


def test_metrics_count_received_bytes_by_key(live: Live) -> None:
    key = live.key("draw")
    with live.client(key.token) as http, live.client() as admin:
        http.post("/v1/jobs", json=JOB)
        size = len(json.dumps(JOB, separators=(",", ":")))
        assert f'sumi_http_received_bytes_total{{key="{key.key.id}"}} {size}' in admin.get("/metrics").text


# The log. ----------------------------------------------------------------------------------------------------------


def test_log_filter_in_a_flood_passes_a_few_lines_and_a_count() -> None:
    now, kept = [0.0], list[str]()
    rate = LogRateFilter(max_records=3, clock=lambda: now[0])

    def write(line: int, message: str) -> None:
        record = logging.LogRecord("sumi", logging.WARNING, "file.py", line, message, (), None)
        if rate.filter(record):
            kept.append(record.getMessage())

    for number in range(1000):
        write(1, f"no room for {number}")
    write(2, "something else")
    assert kept == ["no room for 0", "no room for 1", "no room for 2", "something else"]
    now[0] += PERIOD_S
    write(1, "no room again")
    assert kept[-1] == "no room again (and 997 more like it before)"
