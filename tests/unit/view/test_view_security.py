"""Only the browser that was given the address gets an answer, and it cannot ask for other files."""

import socket
from pathlib import Path

import pytest

from changedet.errors import ConfigError
from changedet.view.security import MOST_BYTES, Access
from changedet.view.server import ViewRequest, bind, check_base_map, is_loopback, run_viewer

VERDICT = "/api/items/0/review/verdicts/r1"
BODY = {"verdict": "accepted", "known_revision": None}
TILE = "/api/items/0/tiles/score/0/0/0.png"
READ = ("/", "/api/items", "/api/items/0", TILE, "/assets/any.js", "/api/items/0/export.csv")


def test_first_address_gives_a_cookie_that_scripts_and_other_sites_cannot_use(client) -> None:
    answer = client.get(f"/?token={client.access.token}", cookie=None)
    assert (answer.status, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert client.access.token not in cookie
    assert client.get("/api/items", cookie=cookie.partition(";")[0]).status == 200


@pytest.mark.parametrize("path", READ)
def test_nothing_is_read_without_the_cookie(client, path: str) -> None:
    for cookie in (None, "", f"{client.access.cookie_name}=guess", "changedet_view_1=x"):
        answer = client.get(path, cookie=cookie)
        assert answer.status == 403
        assert b"address" in answer.body
    assert client.get("/?token=guess", cookie=None).status == 403
    assert client.get(f"/api/items?token={client.access.token}", cookie=None).status == 403


def test_another_name_of_this_machine_is_refused(client) -> None:
    port = client.access.port
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1:1", f"127.0.0.1:{port}/", ""):
        assert client.get("/api/items", host=host).status == 403
        token = f"/?token={client.access.token}"
        assert client.get(token, cookie=None, host=host).status == 403
    assert client.get("/api/items", host=f"localhost:{port}").status == 200


def test_other_pages_can_neither_write_nor_load_parts(client) -> None:
    port = client.access.port
    for origin in (None, "null", "http://evil.example", f"https://127.0.0.1:{port}"):
        assert client.put(VERDICT, BODY, origin=origin).status == 403
    for site in ("cross-site", "same-site"):
        assert client.get(TILE, sec_fetch_site=site, sec_fetch_mode="no-cors").status == 403
        assert client.put(VERDICT, BODY, sec_fetch_site=site).status == 403
    # A form can send text, but not JSON.
    assert client.put(VERDICT, BODY, content_type="text/plain").status == 415
    assert client.ask("POST", VERDICT, BODY).status == 405
    assert client.get("/api/items/0/review").json["verdicts"] == []


def test_every_answer_has_a_strict_policy(client) -> None:
    for answer in (client.get("/api/items"), client.get("/", cookie=None), client.get(TILE)):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_base_map_is_allowed_by_the_policy_and_nothing_else() -> None:
    access = Access("127.0.0.1", 80, base_map="https://tiles.example/{z}/{x}/{y}.png")
    assert "connect-src 'self' https://tiles.example;" in access.policy
    for wrong in ("file:///{z}{x}{y}", "https://a; script-src *//{z}{x}{y}", "https://a/{z}/{x}"):
        with pytest.raises(ConfigError, match="base_map"):
            check_base_map(wrong)


@pytest.mark.parametrize(
    "path",
    [
        "/api/items/1",
        "/api/items/..%2f..",
        "/api/items/-1",
        "/../summary.json",
        "/%2e%2e/%2e%2e/summary.json",
        "/api/items/0/tiles/summary/0/0/0.json",
        "/api/items/0/tiles/score/0/0/0.tif",
        "/api/items/0/tiles/score/9/0/0.png",
        "/api/items/0/export.exe",
        "/api/items/0/thumbnail/score.tif?x0=1",
    ],
)
def test_files_are_known_by_ids_alone(client, path: str) -> None:
    answer = client.get(path)
    assert answer.status in (400, 404)
    assert "error" in answer.json


def test_too_much_is_refused_before_it_is_read(client) -> None:
    assert client.put(VERDICT, b" " * (MOST_BYTES + 1)).status == 413
    with socket.create_connection(("127.0.0.1", client.access.port)) as connection:
        # Only announced.
        connection.sendall(
            f"PUT {VERDICT} HTTP/1.1\r\nHost: 127.0.0.1:{client.access.port}\r\n"
            f"Origin: http://127.0.0.1:{client.access.port}\r\nCookie: {client.cookie}\r\n"
            "Content-Type: application/json\r\nContent-Length: 9999999999\r\n\r\n".encode()
        )
        assert b" 413 " in connection.recv(1000)


def test_port_in_use_is_one_line(scene: Path) -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        request = ViewRequest(scene, port=port, browser=False)
        with pytest.raises(ConfigError, match=rf"port {port} .*`port`"):
            run_viewer(request, say=print, announce=print)
    with pytest.raises(ConfigError, match="`host`"):
        bind("no-such-name.invalid", 0)
    # An address of the documentation, which no machine has.
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1 is no address .*`host`"):
        bind("192.0.2.1", 0)


def test_damaged_polygons_are_told_at_the_start(scene: Path) -> None:
    (scene / "polygons.gpkg").write_bytes(b"half a file")
    said: list[str] = []

    def stop(address: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_viewer(ViewRequest(scene, browser=False), say=said.append, announce=stop)
    assert any("polygons are not shown" in text and "predict again" in text for text in said)


def test_open_addresses_are_told_from_local_ones() -> None:
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert is_loopback("localhost")
    assert not is_loopback("0.0.0.0")
    everywhere = Access("0.0.0.0", 5000)
    assert everywhere.knows_host("192.168.1.7:5000")
    assert not everywhere.knows_host("evil.example:5000")
    assert not Access("127.0.0.1", 5000).knows_host("192.168.1.7:5000")
