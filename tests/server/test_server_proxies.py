"""A server behind a proxy: its path, whom the proxy speaks for, and what it must not say."""

import socket
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import httpx
import pytest

from helpers import serving
from helpers.server_talk import END, connect, refusal, start, talk

TOKEN = "a-token-of-the-tests"
NAME = "voice.example"
SECONDS = 60.0


@pytest.fixture(scope="module")
def shown() -> Iterator[serving.Server]:
    """Server that is shown under a path, by proxies on this machine and in a network."""
    trusted = ("--trusted-proxy", "127.0.0.1", "--trusted-proxy", "10.0.0.0/8")
    path = ("--root-path", "/ser/", "--allow-host", NAME)
    with serving.server(*path, *trusted, "--max-streams-per-address", 1) as running:
        yield running


@pytest.fixture(scope="module")
def plain() -> Iterator[serving.Server]:
    """Server that trusts no proxy."""
    with serving.server("--allow-host", NAME, "--max-streams", 1) as running:
        yield running


def get(server: serving.Server, path: str, **headers: str) -> httpx.Response:
    """Ask for a path of the machine, whatever the server's own address holds."""
    parts = urlsplit(server.url)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.get(f"{parts.scheme}://{parts.netloc}{path}", headers=named, timeout=SECONDS)


def test_the_path_is_in_the_printed_address(shown: serving.Server) -> None:
    assert shown.url == f"http://127.0.0.1:{shown.port}/ser"


@pytest.mark.parametrize("prefix", ["/ser", ""], ids=["kept", "stripped"])
def test_a_proxy_may_keep_the_path_or_strip_it(shown: serving.Server, prefix: str) -> None:
    page = get(shown, f"{prefix}/")
    assert 'src="page/' in page.text
    for path in ("/page/page.js", "/v1/schema", "/healthz", "/readyz", "/metrics"):
        assert get(shown, prefix + path).status_code == 200
    assert get(shown, f"{prefix}/openapi.json").json()["servers"] == [{"url": "/ser"}]
    shown.ws_url = f"ws://127.0.0.1:{shown.port}{prefix}/v1/stream"
    assert talk(shown, [start(), END]).close_code == 1000


def test_the_path_alone_leads_to_the_page(shown: serving.Server) -> None:
    answer = get(shown, "/ser", host=NAME, x_forwarded_proto="https")
    assert (answer.status_code, answer.headers["location"]) == (307, f"https://{NAME}/ser/")


@pytest.mark.parametrize("path", ["/service", "/ser/ser/", "/ser//v1/schema", "/other/v1/schema"])
def test_other_paths_are_none(shown: serving.Server, path: str) -> None:
    assert get(shown, path).status_code == 404


def test_the_token_is_asked_for_under_the_path_too() -> None:
    with serving.server("--root-path", "/ser", "--token", TOKEN) as guarded:
        for path in ("/v1/schema", "/metrics", "/v1/stream"):
            for prefix in ("/ser", ""):
                assert get(guarded, prefix + path).status_code == 401
        for path in ("/ser/ser/v1/schema", "/ser//v1/schema", "//v1/schema", "/ser/./v1/schema"):
            assert get(guarded, path).status_code in (401, 404)
        assert refusal(guarded) == 401


@pytest.mark.parametrize(
    ("sent", "client"),
    [
        (["203.0.113.7"], "203.0.113.7"),
        (["203.0.113.7:55555"], "203.0.113.7"),
        (["2001:db8::7"], "2001:db8::7"),
        (["[2001:db8::7]:55555"], "2001:db8::7"),
        (["203.0.113.7, 10.1.2.3"], "203.0.113.7"),
        (["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        (["198.51.100.1", "203.0.113.7"], "203.0.113.7"),
        (["10.0.0.1, 203.0.113.7"], "203.0.113.7"),
        (["<script>, 203.0.113.7"], "203.0.113.7"),
        (["10.0.0.1, 10.0.0.2"], "10.0.0.1"),
        ([""], "127.0.0.1"),
        ([", ,"], "127.0.0.1"),
        (["198.51.100.1," * 2000 + "203.0.113.7"], "203.0.113.7"),
    ],
    ids=[
        "one", "port", "ipv6", "ipv6 port", "two proxies", "spoofed", "spoofed header",
        "spoofed as a proxy", "garbage", "proxies alone", "nothing", "commas", "long",
    ],
)  # fmt: skip
def test_the_last_hop_that_is_no_proxy_is_the_client(
    shown: serving.Server, plain: serving.Server, sent: Sequence[str], client: str
) -> None:
    headers = [("X-Forwarded-For", value) for value in sent]
    for server, wanted in ((shown, client), (plain, "127.0.0.1")):
        answer = httpx.get(f"{server.url}/nothing", headers=headers, timeout=SECONDS)
        (line,) = server.log.wait_for("request", request_id=answer.headers["x-request-id"])
        assert line["client"] == wanted
        assert line["reason"] == "not_found"


def test_garbage_of_a_proxy_harms_nothing(shown: serving.Server) -> None:
    for value in ("unknown", "999.1.1.1", "[::1", "\xff\xfe", "1.2.3.4:99999999999999999999"):
        headers = [(b"X-Forwarded-For", value.encode("latin1")), (b"X-Forwarded-Proto", b"\xff")]
        answer = httpx.get(f"{shown.url}/v1/schema", headers=headers, timeout=SECONDS)
        assert answer.status_code == 200
        assert shown.log.wait_for("request", request_id=answer.headers["x-request-id"])


def test_the_limit_of_an_address_is_that_of_the_client(shown: serving.Server) -> None:
    one, other = ({"X-Forwarded-For": address} for address in ("203.0.113.7", "203.0.113.8"))
    spoofed = {"X-Forwarded-For": "198.51.100.1, 203.0.113.7"}
    with connect(shown, additional_headers=one), connect(shown, additional_headers=other):
        assert refusal(shown, additional_headers=spoofed) == 503
        (line,) = shown.log.wait_for("request", reason="address")
        assert line["client"] == "203.0.113.7"


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no socket for both families")
def test_a_proxy_is_known_on_a_socket_of_both_families() -> None:
    options = ("--host", "::", "--token", TOKEN, "--trusted-proxy", "127.0.0.1")
    with serving.server(*options) as both:
        url = f"http://127.0.0.1:{both.port}/nothing"
        httpx.get(url, headers={"X-Forwarded-For": "203.0.113.7"}, timeout=SECONDS)
        assert both.log.wait_for("request", client="203.0.113.7")


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        (f"https://{NAME}", NAME, 200),
        (f"https://{NAME}", f"{NAME}:443", 200),
        (f"https://{NAME.upper()}", NAME, 200),
        (f"http://{NAME}", NAME, 403),
        (f"https://{NAME}:444", NAME, 403),
        (f"https://{NAME}:x", NAME, 403),
        ("https://", NAME, 403),
        ("https://[::1", NAME, 403),
        ("null", NAME, 403),
    ],
)
def test_a_page_by_http_is_none_of_a_server_by_https(
    shown: serving.Server, plain: serving.Server, origin: str, host: str, status: int
) -> None:
    told = {"origin": origin, "host": host, "x_forwarded_proto": "https"}
    assert get(shown, "/v1/schema", **told).status_code == status
    # Without a trusted word there is no https: such a page is as good as the server.
    same = origin.startswith("http://")
    assert get(plain, "/v1/schema", **told).status_code == (200 if same else status)


def test_a_page_may_load_to_say_why_its_streams_are_refused(shown: serving.Server) -> None:
    """Scripts of type module are asked for with an origin, which is another one than the host
    where the proxy in front does not keep that."""
    origin = {"origin": f"https://{NAME}"}
    for path in ("/ser/", "/ser/page/page.js", "/ser/page/style.css"):
        assert get(shown, path, **origin).status_code == 200
    for path in ("/ser/v1/stream", "/ser/v1/models", "/ser/metrics"):
        refused = get(shown, path, **origin)
        assert (refused.status_code, refused.json()["code"]) == (403, "origin")
        assert "Host" in refused.json()["detail"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_request_for_a_stream_that_is_no_websocket_is_told_so(
    plain: serving.Server, method: str
) -> None:
    answer = httpx.request(method, f"{plain.url}/v1/stream", timeout=SECONDS)
    assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")
    assert answer.headers["content-type"] == "application/problem+json"
    if method != "HEAD":
        assert answer.json()["code"] == "no_websocket"
        assert "Upgrade" in answer.json()["detail"]
    with connect(plain):
        full = httpx.request(method, f"{plain.url}/v1/stream", timeout=SECONDS)
        assert full.status_code == 503
