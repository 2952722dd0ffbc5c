"""Who may come in: every route, every header that a browser sends, and clients that will not move."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import live_server
import pytest
from live_server import Live

from sumi import Sumi, SumiError
from sumi.serving import uploads
from sumi.serving.app import create_app, open_socket
from sumi.serving.settings import ServerSettings, needs_keys
from sumi.serving.signed_urls import LIFETIME_S, SignedUrls
from sumi.store import open_store

PATIENCE_S = 1.0


@pytest.fixture(scope="module")
def live(tiny: Sumi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live_server.serving(tiny, tmp_path_factory.mktemp("doors")) as server:
        yield server


@pytest.fixture(scope="module")
def hasty(tiny: Sumi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server with little patience."""
    with live_server.serving(tiny, tmp_path_factory.mktemp("hasty"), idle_timeout_s=PATIENCE_S) as server:
        yield server


@pytest.fixture
def http(live: Live) -> Iterator[httpx.Client]:
    with live.client() as client:
        yield client


def test_every_route_needs_a_key_but_health(live: Live, tiny: Sumi, tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        app = create_app(tiny, store, ServerSettings(require_keys=True))
        app.state.shared.service.engine.close()
        schema = app.openapi()["paths"]
    asked = [(method.upper(), path) for path, methods in schema.items() for method in methods]
    asked += [
        ("GET", "/openapi.json"),
        ("GET", "/"),
        ("GET", "/nowhere"),
        ("POST", "/health/.."),
        ("OPTIONS", "/v1/jobs"),
    ]
    assert len(asked) > 20
    with live.client(None) as nobody:
        for method, path in asked:
            reply = nobody.request(method, path.replace("{", "").replace("}", ""))
            if path == "/health":
                assert reply.status_code == 200 and reply.json() == {"status": "ok"}
            else:
                assert reply.status_code == 401, (method, path)
                assert reply.headers["www-authenticate"] == "Bearer"
                assert reply.json()["error"].keys() == {"message", "type", "param", "code"}


@pytest.mark.parametrize("authorization", ["", "Bearer", "Basic c2s6c3VtaQ==", "sk-sumi-x", "Bearer \xff"])
def test_what_is_no_key_opens_nothing(live: Live, authorization: str) -> None:
    with live.client(None) as nobody:
        reply = nobody.get("/v1/models", headers={b"Authorization": authorization.encode("latin-1")})
    assert reply.status_code == 401


def test_every_answer_carries_its_headers(http: httpx.Client) -> None:
    ids = set()
    for path in ("/health", "/v1/models", "/nowhere", "/v1/jobs/none"):
        headers = http.get(path).headers
        assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "server" not in headers and headers["cache-control"] == "no-store"
        ids.add(headers["x-request-id"])
    assert len(ids) == 4


@pytest.mark.parametrize(
    "host", ["evil.example.org", "127.0.0.1.example.org", "", "localhost@example.org", "0", "[::ffff:7f00:1]"]
)
def test_another_host_is_refused_even_on_loopback(http: httpx.Client, host: str) -> None:
    assert http.get("/v1/models", headers={"Host": host}).status_code == 403
    assert http.get("/health", headers={"Host": host}).status_code == 200, "a probe asks by the address of the pod"


def test_an_origin_is_this_server_or_nothing(http: httpx.Client, live: Live) -> None:
    for origin in (
        "null",
        "http://example.org",
        live.url + ".example.org",
        live.url.replace("http", "https"),
        live.url[:-1],
        "",
    ):
        reply = http.get("/v1/models", headers={"Origin": origin})
        assert (reply.status_code, reply.json()["error"]["code"]) == (403, "origin_not_allowed"), origin
    assert http.get("/v1/models", headers={"Origin": live.url, "Sec-Fetch-Site": "same-origin"}).status_code == 200
    assert http.get("/v1/models", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert "access-control-allow-origin" not in http.get("/v1/models").headers


def test_behind_a_proxy_it_is_known_by_its_public_address(tiny: Sumi, tmp_path: Path) -> None:
    public = "https://example.org"
    with live_server.serving(tiny, tmp_path, public_url=public) as live, live.client() as http:
        passed_on = {"Host": "example.org", "Origin": public}
        assert http.get("/v1/models", headers=passed_on).status_code == 200
        assert http.get("/v1/models", headers={"Origin": public}).status_code == 200, "whatever the proxy calls us"
        assert http.get("/v1/models", headers={"Origin": live.url}).status_code == 200, "who sits at this machine"
        for origin in (public.replace("https", "http"), public + ":8443", public + ".evil"):
            assert http.get("/v1/models", headers=passed_on | {"Origin": origin}).status_code == 403, origin
        body = {"prompt": "a fox", "size": "16x16", "response_format": "url"}
        reply = http.post("/v1/images/generations", json=body, headers=passed_on).json()
        assert reply["data"][0]["url"].startswith(public + "/v1/files/")
        assert http.get("/v1/gallery").json()["data"][0]["url"].startswith(public + "/v1/files/")


def test_what_a_header_says_of_a_proxy_is_not_believed(http: httpx.Client, live: Live) -> None:
    said = {
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "example.org",
        "Forwarded": "proto=https;host=example.org",
    }
    for origin in ("https://example.org", live.url.replace("http", "https")):
        assert http.get("/v1/models", headers=said | {"Origin": origin}).status_code == 403
    body = {"prompt": "a fox", "size": "16x16", "response_format": "url"}
    reply = http.post("/v1/images/generations", json=body, headers=said).json()
    assert reply["data"][0]["url"].startswith(live.url + "/")


@pytest.mark.parametrize(
    "url", ["example.org", "ftp:" + "//example.org", "https:" + "//", "https://example.org b", "https:" + "//a b/c"]
)
def test_a_public_address_is_a_host(url: str) -> None:
    with pytest.raises(SumiError, match=r"a public address should be like https://example.org, not"):
        ServerSettings(require_keys=True, public_url=url)


@pytest.mark.parametrize("path", ["/a b", "/..", "/a/../b", "/a?b", "/a//b", "/%2e"])
def test_the_path_of_a_public_address_is_plain(path: str) -> None:
    with pytest.raises(SumiError, match="a public address should have a plain path"):
        ServerSettings(require_keys=True, public_url=f"https://example.org{path}")
    assert (
        ServerSettings(require_keys=True, public_url="https://example.org/Sumi/").public_url
        == "https://example.org/Sumi"
    )


def test_behind_a_path_with_or_without_it(tiny: Sumi, tmp_path: Path) -> None:
    public = "https://example.org/sumi"
    with live_server.serving(tiny, tmp_path, public_url=public) as live, live.client() as http:
        passed_on = {"Host": "example.org", "Origin": "https://example.org"}
        for path in ("/v1/models", "/sumi/v1/models"):
            assert http.get(path, headers=passed_on).status_code == 200
        assert http.get("/sumisumi/v1/models").status_code == http.get("/sumi").status_code == 404
        with live.client(None) as nobody:
            assert nobody.get("/sumi/v1/models").status_code == 401
            assert nobody.get("/sumi/health").status_code == 200
        body = {"prompt": "a fox", "size": "16x16", "steps": 1, "response_format": "url"}
        url = http.post("/sumi/v1/images/generations", json=body, headers=passed_on).json()["data"][0]["url"]
        assert url.startswith(public + "/v1/files/")
        for prefix in ("", "/sumi"):
            assert http.get(prefix + url.removeprefix(public), headers={"Authorization": ""}).status_code == 200


def test_an_invited_site_may_ask_and_show(tiny: Sumi, tmp_path: Path) -> None:
    site, other = "https://example.org:8443", "https://example.org:9443"
    with live_server.serving(tiny, tmp_path, origins=(site + "/",)) as live, live.client() as http:
        wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        with live.client(None) as nobody:
            preflight = nobody.options("/v1/jobs", headers=wanted | {"Origin": site})
            assert preflight.status_code == 200 and preflight.headers["access-control-allow-origin"] == site
            refused = nobody.options("/v1/jobs", headers=wanted | {"Origin": other})
            assert refused.status_code >= 400 and "access-control-allow-origin" not in refused.headers
            needs_key = nobody.get("/v1/models", headers={"Origin": site})
            assert needs_key.status_code == 401 and needs_key.headers["access-control-allow-origin"] == site
        reply = http.get("/v1/models", headers={"Origin": site, "Sec-Fetch-Site": "cross-site"})
        assert reply.status_code == 200 and reply.headers["access-control-allow-origin"] == site
        assert http.get("/v1/models", headers={"Origin": other}).status_code == 403
        body = {"prompt": "a fox", "size": "16x16", "steps": 1, "response_format": "url"}
        url = http.post("/v1/images/generations", json=body).json()["data"][0]["url"]
        assert http.get(url, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200
        assert http.get("/v1/models", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_a_socket_that_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    settings = ServerSettings(socket=str(path))
    with open_socket(settings) as door:
        assert path.stat().st_mode & 0o777 == 0o600
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            with pytest.raises(SumiError, match="another server does"):
                open_socket(settings)
        door.close()
    with open_socket(settings):
        assert path.is_socket(), "what a server left behind is replaced"
    path.unlink()
    path.write_text("not ours")
    with pytest.raises(SumiError, match="cannot listen at"):
        open_socket(settings)
    assert path.read_text() == "not ours"


def test_an_address_that_is_taken_is_said_in_one_line(live: Live) -> None:
    with pytest.raises(SumiError, match=rf"cannot listen on 127.0.0.1:{live.settings.port}: Address already in use"):
        open_socket(live.settings)


def test_a_public_address_needs_keys() -> None:
    with pytest.raises(SumiError, match=r"other machines can reach https://example.org, so it needs keys"):
        ServerSettings(public_url="HTTPS:" + "//Example.org:443/")
    assert (
        ServerSettings(require_keys=True, public_url="HTTPS:" + "//Example.org:443/").public_url
        == "https://example.org"
    )


def test_scopes(live: Live) -> None:
    with live.client(live.key("read").token) as reader, live.client(live.key("draw").token) as drawer:
        assert reader.get("/v1/gallery").status_code == 200 and drawer.get("/v1/gallery").status_code == 403
        assert reader.get("/metrics").status_code == drawer.get("/metrics").status_code == 403
        assert reader.post("/v1/jobs", json={"kind": "generate", "prompt": "a fox"}).status_code == 403


def test_a_body_too_large_is_refused_whatever_it_says_of_its_length(http: httpx.Client) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(40):
            yield b'{"prompt": "' + b"a" * 2**16

    for content in (b"a" * (2**20 + 1), pieces()):
        reply = http.post("/v1/images/generations", content=content, headers={"Content-Type": "application/json"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (413, "request_too_large")


def test_so_many_large_bodies_at_once(live: Live, tiny: Sumi, tmp_path: Path) -> None:
    with live_server.serving(tiny, tmp_path, large_arriving=0) as server, server.client() as http:
        job = {"kind": "generate", "prompt": "a fox", "steps": 1, "size": 16}
        large = b" " * 2**20 + b" " + json.dumps(job).encode()
        reply = http.post("/v1/jobs", content=large, headers={"Content-Type": "application/json"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (429, "overloaded")
        assert http.post("/v1/jobs", json=job).status_code == 202


def test_a_picture_that_there_is_no_time_to_open_is_not_called_damaged(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MAX_WALL_S", 1)  # so that there is none
    reply = http.post("/v1/images/variations", files={"image": b"a picture"})
    assert (reply.status_code, reply.headers["x-should-retry"], reply.headers["retry-after"]) == (503, "true", "5")


def test_ready_metrics_and_the_document(http: httpx.Client) -> None:
    assert http.get("/ready").json() == {"status": "ready"}
    assert http.get("/openapi.json").json()["info"]["title"] == "Sumi"
    figures = http.get("/metrics").text
    assert 'sumi_http_requests_total{method="GET",route="/ready",status="200"}' in figures
    assert "process_resident_memory_bytes" in figures and 'sumi_jobs{status="queued"} 0' in figures


# Clients that will not move. ---------------------------------------------------------------------------------------


def hung_up(connection: socket.socket, within_s: float) -> bool:
    """Whether the server ends the connection."""
    connection.settimeout(within_s)
    try:
        while connection.recv(2**16):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /health HTTP/1.1\r\nHost: local",
        b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5000\r\n\r\n{",
    ],
)
def test_a_slow_client_is_cut_off(hasty: Live, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", hasty.settings.port)) as connection:
        token = f"\r\nAuthorization: Bearer {hasty.token}\r\nContent-Length".encode()
        connection.sendall(sent.replace(b"\r\nContent-Length", token))
        assert hung_up(connection, 20 * PATIENCE_S)


def test_one_that_dribbles_is_cut_off_too(hasty: Live) -> None:
    with socket.create_connection(("127.0.0.1", hasty.settings.port)) as connection, pytest.raises(ConnectionError):
        deadline = time.monotonic() + 40 * PATIENCE_S
        while time.monotonic() < deadline:
            connection.sendall(b"G")
            time.sleep(PATIENCE_S / 8)


def test_client_that_waits_for_its_picture_longer_than_patience_s_is_answered(
    hasty: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = hasty.store.files.put

    def put_late(data: bytes) -> str:
        time.sleep(2 * PATIENCE_S)
        return put(data)

    monkeypatch.setattr(hasty.store.files, "put", put_late)
    with hasty.client() as http:
        reply = http.post("/v1/images/generations", json={"prompt": "a fox", "size": "16x16", "steps": 1})
    assert reply.status_code == 200 and reply.elapsed.total_seconds() > PATIENCE_S


def test_what_is_no_http_is_told_so_in_the_same_form(live: Live) -> None:
    with socket.create_connection(("127.0.0.1", live.settings.port)) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        connection.settimeout(60)
        answer = b"".join(iter(lambda: connection.recv(2**16), b""))
    assert answer.startswith(b"HTTP/1.1 400") and b'"code":"invalid_http"' in answer
    assert b"\r\nx-request-id: req_" in answer and b"\r\nx-content-type-options: nosniff" in answer


# Where it listens. -------------------------------------------------------------------------------------------------


def test_another_address_needs_keys() -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        with pytest.raises(SumiError, match=r"other machines can reach .*: make one with `sumi keys create NAME`"):
            ServerSettings(host=host)
        assert ServerSettings(host=host, require_keys=True).require_keys
    assert not any(ServerSettings(host=host).require_keys for host in ("127.0.0.1", "::1", "localhost"))


def test_without_keys_this_machine_needs_none(tiny: Sumi, tmp_path: Path) -> None:
    with live_server.serving(tiny, tmp_path, require_keys=False) as server:
        with server.client(None) as nobody, server.client("anything") as somebody:
            assert nobody.get("/v1/models").status_code == somebody.get("/v1/models").status_code == 200
            assert nobody.get("/v1/models", headers={"Host": "example.org"}).status_code == 403
        assert needs_keys(server.store)  # from the next start on


def test_a_link_lives_for_an_hour() -> None:
    now = [1_000_000.0]
    links = SignedUrls(b"a secret", lambda: now[0])
    path, _, query = links.sign("pic_" + "ab" * 16, "png").partition("?")
    assert links.opens(path, query.encode()) and SignedUrls(b"a secret", lambda: now[0]).opens(path, query.encode())
    assert not SignedUrls(b"another", lambda: now[0]).opens(path, query.encode())
    assert not links.opens(path.replace("ab", "cd", 1), query.encode()) and not links.opens(path, b"")
    assert not links.opens(path, query.replace("expires=", "expires=9").encode())
    now[0] += LIFETIME_S + 1
    assert not links.opens(path, query.encode())


def test_an_answer_does_not_wait_for_the_client_to_confirm_its_head(live: Live) -> None:
    """Without TCP_NODELAY each answer on a connection that stays open takes 40 ms."""
    with live.client() as http:
        assert http.get("/health").status_code == 200
        sockets = [one.transport.get_extra_info("socket") for one in live.process.server_state.connections]
        assert sockets and all(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for one in sockets)
