"""Access control: keys, scopes, hosts, origins, sizes, and slow clients."""

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
    """A server with a short idle timeout."""
    with live_server.serving(tiny, tmp_path_factory.mktemp("hasty"), idle_timeout_s=PATIENCE_S) as server:
        yield server


@pytest.fixture
def http(live: Live) -> Iterator[httpx.Client]:
    with live.client() as client:
        yield client


def test_every_route_but_health_needs_a_key(live: Live, tiny: Sumi, tmp_path: Path) -> None:
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
def test_invalid_token_is_answered_401(live: Live, authorization: str) -> None:
    with live.client(None) as nobody:
        reply = nobody.get("/v1/models", headers={b"Authorization": authorization.encode("latin-1")})
    assert reply.status_code == 401


def test_every_answer_has_the_security_headers(http: httpx.Client) -> None:
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
def test_foreign_host_header_is_refused_on_loopback(http: httpx.Client, host: str) -> None:
    assert http.get("/v1/models", headers={"Host": host}).status_code == 403
    assert http.get("/health", headers={"Host": host}).status_code == 200, "a probe asks by the address of the pod"


def test_foreign_origin_is_refused(http: httpx.Client, live: Live) -> None:
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


def test_server_behind_a_proxy_uses_its_public_url(tiny: Sumi, tmp_path: Path) -> None:
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


def test_forwarded_headers_are_ignored(http: httpx.Client, live: Live) -> None:
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
def test_public_url_that_is_no_origin_is_refused(url: str) -> None:
    with pytest.raises(SumiError, match=r"a public address should be like https://example.org, not"):
        ServerSettings(require_keys=True, public_url=url)


@pytest.mark.parametrize("path", ["/a b", "/..", "/a/../b", "/a?b", "/a//b", "/%2e"])
def test_public_url_with_an_odd_path_is_refused(path: str) -> None:
    with pytest.raises(SumiError, match="a public address should have a plain path"):
        ServerSettings(require_keys=True, public_url=f"https://example.org{path}")
    assert (
        ServerSettings(require_keys=True, public_url="https://example.org/Sumi/").public_url
        == "https://example.org/Sumi"
    )


def test_server_behind_a_path_answers_with_and_without_the_prefix(tiny: Sumi, tmp_path: Path) -> None:
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


def test_allowed_origin_may_request_and_show_pictures(tiny: Sumi, tmp_path: Path) -> None:
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


def test_unix_socket_has_the_right_mode_and_replaces_a_dead_one(tmp_path: Path) -> None:
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


def test_listening_on_a_taken_address_is_one_line(live: Live) -> None:
    with pytest.raises(SumiError, match=rf"cannot listen on 127.0.0.1:{live.settings.port}: Address already in use"):
        open_socket(live.settings)


def test_public_url_without_keys_is_refused() -> None:
    with pytest.raises(SumiError, match=r"other machines can reach https://example.org, so it needs keys"):
        ServerSettings(public_url="HTTPS:" + "//Example.org:443/")
    assert (
        ServerSettings(require_keys=True, public_url="HTTPS:" + "//Example.org:443/").public_url
        == "https://example.org"
    )


def test_routes_without_the_scope_are_403(live: Live) -> None:
    with live.client(live.key("read").token) as reader, live.client(live.key("draw").token) as drawer:
        assert reader.get("/v1/gallery").status_code == 200 and drawer.get("/v1/gallery").status_code == 403
        assert reader.get("/metrics").status_code == drawer.get("/metrics").status_code == 403
        assert reader.post("/v1/jobs", json={"kind": "generate", "prompt": "a fox"}).status_code == 403


def test_body_over_the_limit_is_413_whatever_its_declared_length(http: httpx.Client) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(40):
            yield b'{"prompt": "' + b"a" * 2**16

    for content in (b"a" * (2**20 + 1), pieces()):
        reply = http.post("/v1/images/generations", content=content, headers={"Content-Type": "application/json"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (413, "request_too_large")


def test_large_bodies_over_the_limit_are_429(live: Live, tiny: Sumi, tmp_path: Path) -> None:
    with live_server.serving(tiny, tmp_path, large_arriving=0) as server, server.client() as http:
        job = {"kind": "generate", "prompt": "a fox", "steps": 1, "size": 16}
        large = b" " * 2**20 + b" " + json.dumps(job).encode()
        reply = http.post("/v1/jobs", content=large, headers={"Content-Type": "application/json"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (429, "overloaded")
        assert http.post("/v1/jobs", json=job).status_code == 202


def test_upload_that_times_out_is_503(http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_WALL_S", 1)  # so that there is none
    reply = http.post("/v1/images/variations", files={"image": b"a picture"})
    assert (reply.status_code, reply.headers["x-should-retry"], reply.headers["retry-after"]) == (503, "true", "5")


def test_operator_routes_report_state_metrics_and_openapi(http: httpx.Client) -> None:
    assert http.get("/ready").json() == {"status": "ready"}
    assert http.get("/openapi.json").json()["info"]["title"] == "Sumi"
    figures = http.get("/metrics").text
    assert 'sumi_http_requests_total{method="GET",route="/ready",status="200"}' in figures
    assert "process_resident_memory_bytes" in figures and 'sumi_jobs{status="queued"} 0' in figures


# Clients that will not move. ---------------------------------------------------------------------------------------


def hung_up(connection: socket.socket, within_s: float) -> bool:
    """Return whether the server closes the connection."""
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
def test_client_that_reads_nothing_is_disconnected(hasty: Live, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", hasty.settings.port)) as connection:
        token = f"\r\nAuthorization: Bearer {hasty.token}\r\nContent-Length".encode()
        connection.sendall(sent.replace(b"\r\nContent-Length", token))
        assert hung_up(connection, 20 * PATIENCE_S)


def test_client_that_sends_slowly_is_disconnected(hasty: Live) -> None:
    with socket.create_connection(("127.0.0.1", hasty.settings.port)) as connection, pytest.raises(ConnectionError):
        deadline = time.monotonic() + 40 * PATIENCE_S
        while time.monotonic() < deadline:
            connection.sendall(b"G")
            time.sleep(PATIENCE_S / 8)


def test_client_that_waits_longer_than_the_idle_timeout_is_answered(
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


def test_invalid_http_is_400_in_the_form_of_other_errors(live: Live) -> None:
    with socket.create_connection(("127.0.0.1", live.settings.port)) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        connection.settimeout(60)
        answer = b"".join(iter(lambda: connection.recv(2**16), b""))
    assert answer.startswith(b"HTTP/1.1 400") and b'"code":"invalid_http"' in answer
    assert b"\r\nx-request-id: req_" in answer and b"\r\nx-content-type-options: nosniff" in answer


# Where it listens. -------------------------------------------------------------------------------------------------


def test_settings_of_a_reachable_address_without_keys_are_refused() -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        with pytest.raises(SumiError, match=r"other machines can reach .*: make one with `sumi keys create NAME`"):
            ServerSettings(host=host)
        assert ServerSettings(host=host, require_keys=True).require_keys
    assert not any(ServerSettings(host=host).require_keys for host in ("127.0.0.1", "::1", "localhost"))


def test_server_without_keys_on_loopback_needs_no_token(tiny: Sumi, tmp_path: Path) -> None:
    with live_server.serving(tiny, tmp_path, require_keys=False) as server:
        with server.client(None) as nobody, server.client("anything") as somebody:
            assert nobody.get("/v1/models").status_code == somebody.get("/v1/models").status_code == 200
            assert nobody.get("/v1/models", headers={"Host": "example.org"}).status_code == 403
        assert needs_keys(server.store)  # from the next start on


def test_signed_url_expires_after_an_hour() -> None:
    now = [1_000_000.0]
    links = SignedUrls(b"a secret", lambda: now[0])
    path, _, query = links.sign("pic_" + "ab" * 16, "png").partition("?")
    assert links.opens(path, query.encode()) and SignedUrls(b"a secret", lambda: now[0]).opens(path, query.encode())
    assert not SignedUrls(b"another", lambda: now[0]).opens(path, query.encode())
    assert not links.opens(path.replace("ab", "cd", 1), query.encode()) and not links.opens(path, b"")
    assert not links.opens(path, query.replace("expires=", "expires=9").encode())
    now[0] += LIFETIME_S + 1
    assert not links.opens(path, query.encode())


def test_answer_is_sent_without_waiting_for_acknowledgement(live: Live) -> None:
    """Without TCP_NODELAY each answer on a connection that stays open takes 40 ms."""
    with live.client() as http:
        assert http.get("/health").status_code == 200
        sockets = [one.transport.get_extra_info("socket") for one in live.process.server_state.connections]
        assert sockets and all(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for one in sockets)
