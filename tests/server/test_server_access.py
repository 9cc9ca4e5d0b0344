"""Access: token, origin, host; and mistakes in the options."""

import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from websockets.typing import Origin, Subprotocol

from helpers import serving
from helpers.in_process import call, error_of
from helpers.server_talk import END, connect, listen, refusal, start, talk
from ser_live.server import main, uvicorn_server


@pytest.fixture(scope="module")
def server() -> Iterator[serving.Server]:
    with serving.server("--origin", "https://friend.example") as running:
        yield running


@pytest.fixture(scope="module")
def guarded() -> Iterator[serving.Server]:
    with serving.server("--host", "0.0.0.0") as running:
        yield running


def test_another_address_than_loopback_makes_a_token(guarded: serving.Server) -> None:
    assert guarded.token is not None
    assert len(guarded.token) >= 24
    right = {"Authorization": f"Bearer {guarded.token}"}
    for path in ("/v1/models", "/metrics", "/v1/schema"):
        without = guarded.get(path)
        assert without.status_code == 401
        assert without.headers["www-authenticate"] == "Bearer"
        wrong = guarded.get(path, headers={"Authorization": "Bearer guess"})
        assert wrong.status_code == 401
        assert guarded.get(path, headers=right).status_code == 200
    post = httpx.post(f"{guarded.url}/v1/recognize", content=b"x")
    assert post.status_code == 401
    for path in ("/healthz", "/readyz", "/"):
        assert guarded.get(path).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_monitors_need_no_name_and_no_token(host: str) -> None:
    options = ("--host", host, "--allow-host", "public.example", "--token", "a" * 24)
    with serving.server(*options) as running:
        by_address = {"Host": "10.1.2.3:8321"}
        for path in ("/healthz", "/readyz"):
            assert running.get(path, headers=by_address).status_code == 200
            assert httpx.head(running.url + path, headers=by_address).status_code == 200
        assert running.get("/", headers=by_address).status_code == 403
        assert running.get("/v1/models", headers=by_address).status_code == 403


def test_streams_need_it_too_as_a_header_or_a_subprotocol(guarded: serving.Server) -> None:
    assert refusal(guarded) == 401
    assert refusal(guarded, additional_headers={"Authorization": "Bearer guess"}) == 401
    assert refusal(guarded, subprotocols=[Subprotocol("ser.v1"), Subprotocol("bearer.x")]) == 401
    right = {"Authorization": f"Bearer {guarded.token}"}
    assert talk(guarded, [start(), END], additional_headers=right).close_code == 1000
    offered = [Subprotocol("ser.v1"), Subprotocol(f"bearer.{guarded.token}")]
    with connect(guarded, subprotocols=offered) as stream:
        assert stream.subprotocol == "ser.v1"


def test_the_token_is_in_no_log_line(guarded: serving.Server) -> None:
    guarded.get("/v1/models", headers={"Authorization": f"Bearer {guarded.token}"})
    assert guarded.log.lines("request")
    assert str(guarded.token) not in guarded.log.text


def test_pages_of_other_sites_may_not_connect(server: serving.Server) -> None:
    for origin in ("https://evil.example", "null", f"{server.url}.evil.example"):
        assert refusal(server, origin=Origin(origin)) == 403
        assert server.get("/v1/models", headers={"Origin": origin}).status_code == 403
        post = httpx.post(f"{server.url}/v1/recognize", headers={"Origin": origin}, content=b"x")
        assert post.status_code == 403


def test_its_own_page_and_allowed_sites_may(server: serving.Server) -> None:
    for origin in (server.url, "https://friend.example"):
        assert talk(server, [start(), END], origin=Origin(origin)).close_code == 1000
    answer = server.get("/v1/models", headers={"Origin": "https://friend.example"})
    assert answer.headers["access-control-allow-origin"] == "https://friend.example"
    asked = httpx.options(
        f"{server.url}/v1/recognize",
        headers={
            "Origin": "https://friend.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization",
        },
    )
    assert asked.status_code == 200


def test_a_name_that_was_bent_to_this_machine_is_refused(server: serving.Server) -> None:
    """As pages do it that make their own name point here: origin and host agree."""
    bent = {"Host": f"evil.example:{server.port}", "Origin": f"http://evil.example:{server.port}"}
    assert server.get("/v1/models", headers=bent).status_code == 403
    assert server.get("/", headers={"Host": "evil.example"}).status_code == 403
    known = {"Host": f"localhost:{server.port}"}
    assert server.get("/v1/models", headers=known).status_code == 200


def test_a_given_token_guards_loopback_too(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "correct-horse-battery"
    monkeypatch.setenv("SER_SERVE_TOKEN", secret)
    with serving.server() as guarded:
        assert guarded.token == secret
        assert guarded.get("/v1/models").status_code == 401


MISTAKES = {
    "token": ("--token", "short"),
    "limit": ("--max-streams", "0"),
    "port": ("--port", "99999"),
    "host": ("--host", "no.such.name.invalid"),
    "origin": ("--origin", "friend.example"),
    "model": ("--model", "nonesuch"),
    "broken model": ("--model", str(Path(__file__).with_suffix(".onnx"))),
    "broken second model": ("--model", serving.FAST_MODEL, "--model", __file__),
    "key alone": ("--key", "key.pem"),
    "certificate": ("--certificate", "/nonesuch.pem", "--key", "/nonesuch.pem"),
    "no certificate": ("--certificate", __file__, "--key", __file__),
    "option": ("--nonesuch",),
}


@pytest.fixture
def mistake(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run ``ser-serve`` with options that it cannot take, and return the one line that it says."""
    monkeypatch.setattr(uvicorn_server, "log_to_stderr", lambda level: None)
    return lambda *words: error_of(call(*words, main=main), "ser-serve")


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_takes_one_line(name: str, mistake: Callable[..., str]) -> None:
    assert mistake(*MISTAKES[name])


def test_a_port_in_use_is_told(server: serving.Server, mistake: Callable[..., str]) -> None:
    assert f"cannot listen on 127.0.0.1 port {server.port}" in mistake("--port", server.port)


@pytest.mark.integration
def test_help_needs_no_extra(environment: dict[str, str]) -> None:
    code = (
        "import sys\n"
        "for name in ('fastapi', 'uvicorn', 'starlette', 'pydantic'): sys.modules[name] = None\n"
        "from ser_live.server import main\n"
        "import ser_live.cli.main\n"
        "main(sys.argv[1:])"
    )
    for words, said in ((["--help"], "--max-streams"), ([], "pip install 'ser-live[serve]'")):
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            env=environment, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert said in (done.stdout + done.stderr).replace("\n", " ")
        assert "Traceback" not in done.stderr


@pytest.mark.integration
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_a_certificate_makes_it_https_and_wss(tmp_path: Path) -> None:
    certificate, key = serving.certificate(tmp_path, "localhost")
    trusting = ssl.create_default_context(cafile=str(certificate))
    with serving.server("--certificate", certificate, "--key", key) as running:
        assert running.url.startswith("https://")
        assert running.get("/readyz", verify=trusting).status_code == 200
        with connect(running, ssl=trusting) as stream:
            stream.send(start())
            stream.send(END)
            assert listen(stream).close_code == 1000
