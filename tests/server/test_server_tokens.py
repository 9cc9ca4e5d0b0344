"""Tokens by name: files that make no sense, limits of each, and a rotation without a restart."""

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from helpers import serving
from helpers.server_talk import (
    END,
    RATE_HZ,
    VOICE,
    blocks,
    connect,
    listen,
    offline,
    refusal,
    start,
    talk,
)
from ser_live import SerError
from ser_live.server.settings import Limits, Settings
from ser_live.server.tokens import Tokens

ALICE, BOB, CAROL = "alice-has-this-one", "bob-has-another-one", "carol-comes-later-on"
SHORT = VOICE[: 3 * RATE_HZ]


def write(file: Path, tokens: dict[str, str], limits: str = "") -> None:
    lines = [f'[tokens.{name}]\ntoken = "{secret}"' for name, secret in tokens.items()]
    file.touch(0o600)
    file.write_text("\n".join([*lines, limits]))


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.toml"
    write(path, {"alice": ALICE, "bob": BOB}, "max_streams = 1\nmax_seconds = 5")
    return path


def test_a_token_has_the_limits_of_the_server_but_for_its_own(file: Path) -> None:
    limits = Limits(max_uploads=3)
    tokens = Tokens(Settings(token=CAROL, tokens=str(file), limits=limits))
    found = {secret: tokens.find(secret) for secret in (ALICE, BOB, CAROL)}
    assert [token and token.name for token in found.values()] == ["alice", "bob", "default"]
    assert found[ALICE].limits == found[CAROL].limits == limits  # type: ignore[union-attr]
    assert found[BOB].limits == Limits(  # type: ignore[union-attr]
        max_uploads=3, max_streams=1, max_seconds=5.0
    )
    assert tokens.find("nonesuch-at-all-here") is None
    assert not Tokens(Settings())


MISTAKES = {
    "": "names no token, wanted tables",
    "[tokens]": "names no token, wanted tables",
    "tokens = 1": "names no token, wanted tables",
    '[token.a]\ntoken = "0123456789abcdef"': "has 'token', wanted tables",
    "[tokens.a]": "[tokens.a] has no token, wanted tables",
    "[tokens]\na = 1": "[tokens.a] has no token, wanted tables",
    '[tokens.a]\ntoken = "short"': "[tokens.a] token does not fit, wanted 16 to",
    '[tokens."a b"]\ntoken = "0123456789abcdef"': "[tokens.a b], wanted a name of",
    '[tokens.a]\ntoken = "0123456789abcdef"\nmax_stream = 1': "wanted max_streams",
    '[tokens.a]\ntoken = "0123456789abcdef"\nport = 1': "[tokens.a] has no setting 'port'",
    '[tokens.a]\ntoken = "0123456789abcdef"\nmax_streams = 0': "max_streams is 0, wanted a whole",
    '[tokens.a]\ntoken = "0123456789abcdef"\n[tokens.b]\ntoken = "0123456789abcdef"': "of a, ",
    '[tokens.default]\ntoken = "0123456789abcdef"': "[tokens.default] has the name",
    '[tokens.b]\ntoken = "' + CAROL + '"': "of default, wanted",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_file_that_makes_no_sense_is_told_and_keeps_the_tokens_before(
    text: str, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(token=CAROL, tokens=str(file))
    tokens = Tokens(settings)
    file.write_text(text)
    with pytest.raises(SerError) as told:
        Tokens(settings)
    assert str(told.value).startswith(f"{file}: ")
    assert MISTAKES[text] in str(told.value)
    tokens.reload()
    (record,) = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert record.__dict__["detail"] == str(told.value)
    assert tokens.find(ALICE) is not None


def test_a_secret_that_comes_back_is_not_gone(file: Path) -> None:
    tokens = Tokens(Settings(tokens=str(file)))
    for secrets, is_gone in (({"alice": BOB}, True), ({"eve": ALICE}, False)):
        write(file, secrets)
        tokens.reload()
        assert (tokens.gone_name(ALICE) == "alice") == is_gone
        assert (tokens.find(ALICE) is None) == is_gone
    assert tokens.gone_name("nonesuch-at-all-here") is None


@pytest.mark.skipif(os.name == "nt", reason="files have no such rights there")
def test_a_file_that_others_can_read_is_warned_of(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for mode, count in ((0o640, 0), (0o644, 1)):
        file.chmod(mode)
        Tokens(Settings(tokens=str(file)))
        assert [one.message for one in caplog.records] == ["tokens are open to others"] * count


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[serving.Server]:
    file = tmp_path_factory.mktemp("tokens") / "tokens.toml"
    own = "max_streams = 1\nmax_uploads = 1\nmax_seconds = 2\nmax_bytes_per_second = 1000\n"
    write(file, {"alice": ALICE, "bob": BOB}, own + "max_upload_bytes = 1000000")
    with serving.server("--tokens", file) as running:
        running.token = ALICE  # with which the schema is asked for
        yield running


def figure(server: serving.Server, name: str) -> float:
    lines = server.get("/metrics", headers=bearer(ALICE)).text.splitlines()
    found = [line for line in lines if line.startswith(f"{name} ")]
    return float(found[0].rpartition(" ")[2]) if found else 0.0


def said_limits(server: serving.Server, secret: str) -> dict[str, float]:
    with connect(server, additional_headers=bearer(secret)) as stream:
        stream.send(start())
        stream.send(END)
        (started,) = listen(stream).of("started")
    limits: dict[str, float] = started["limits"]
    return limits


@pytest.mark.integration
def test_streams_of_a_token_have_its_limits(server: serving.Server) -> None:
    assert said_limits(server, ALICE)["max_seconds"] == Limits().max_seconds
    assert said_limits(server, BOB)["max_bytes_per_second"] == 1000
    with connect(server, additional_headers=bearer(BOB)) as held:
        held.send(start())
        assert refusal(server, additional_headers=bearer(BOB)) == 503
        with connect(server, additional_headers=bearer(ALICE)):
            assert figure(server, 'ser_token_streams_open{token="bob"}') == 1
        (line,) = server.log.wait_for("request", status=503)
        assert (line["reason"], line["token_name"]) == ("token_streams", "bob")
        held.send(END)
        listen(held)
    assert figure(server, 'ser_token_refused_total{reason="token_streams",token="bob"}') == 1
    long = talk(server, [start(), *blocks(SHORT, 4410)], additional_headers=bearer(BOB))
    assert long.ended["reason"] == "too_long"
    lines = server.log.wait_for("stream closed", reason="too_long")
    assert lines[0]["token_name"] == "bob"
    flood: list[str | bytes] = [start(sample_rate_hz=384000), *[bytes(20_000)] * 80]
    assert talk(server, flood, additional_headers=bearer(BOB)).ended["reason"] == "rate_limit"
    assert figure(server, 'ser_token_heard_seconds_total{token="bob"}') > 2
    assert figure(server, 'ser_token_streams_open{token="bob"}') == 0


@pytest.mark.integration
def test_recordings_of_a_token_have_its_limits(server: serving.Server) -> None:
    def post(body: Any, secret: str = BOB) -> httpx.Response:
        url = f"{server.url}/v1/recognize"
        return httpx.post(url, content=body, headers=bearer(secret), timeout=60)

    recording = serving.recording(SHORT[:, :1], RATE_HZ, "PCM_16")
    assert post(recording, ALICE).status_code == 200
    assert post(recording).json()["code"] == "too_long"
    assert post(bytes(1_000_001)).json()["code"] == "too_large"
    assert post(bytes(1_000_001), ALICE).json()["code"] == "no_audio"

    def slowly() -> Iterator[bytes]:
        yield recording[:1000]
        refused = post(recording)
        assert (refused.status_code, refused.json()["code"]) == (503, "token_uploads")
        assert post(recording, ALICE).status_code == 200
        yield recording[1000:20_000]

    assert post(slowly()).status_code == 200
    (line,) = server.log.wait_for("request", reason="token_uploads")
    assert line["token_name"] == "bob"


@pytest.mark.integration
def test_many_offers_are_not_all_compared(server: serving.Server) -> None:
    offers = ["bearer.guess"] * 4 + [f"bearer.{ALICE}"]
    assert refusal(server, subprotocols=offers) == 401


@pytest.mark.integration
@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="the system has no such signal")
def test_tokens_rotate_without_a_restart_and_open_streams_keep_on(file: Path) -> None:
    def status(server: serving.Server, secret: str) -> int:
        return server.get("/v1/schema", headers=bearer(secret)).status_code

    with serving.process("--tokens", file) as server:
        assert [status(server, secret) for secret in (ALICE, BOB, CAROL)] == [200, 200, 401]
        with connect(server, additional_headers=bearer(ALICE)) as stream:
            stream.send(start())
            sent = blocks(SHORT, 5000)
            for block in sent[:5]:
                stream.send(block)
            write(file, {"bob": BOB, "carol": CAROL})
            os.kill(server.pid, signal.SIGHUP)
            (line,) = server.log.wait_for("tokens read again")
            assert (line["added"], line["gone"]) == (["carol"], ["alice"])
            assert [status(server, secret) for secret in (ALICE, BOB, CAROL)] == [401, 200, 200]
            assert refusal(server, additional_headers=bearer(ALICE)) == 401
            lines = server.log.wait_for("request", 2, status=401, token_name="alice")
            assert {line["reason"] for line in lines} == {"token"}
            file.write_text("broken")
            os.kill(server.pid, signal.SIGHUP)
            server.log.wait_for("tokens kept as they were", holding="is no TOML")
            assert [status(server, secret) for secret in (ALICE, BOB, CAROL)] == [401, 200, 200]
            for block in [*sent[5:], END]:
                stream.send(block)
            said = listen(stream)
        assert said.predictions == offline(SHORT)
        assert said.close_code == 1000
        for secret in (ALICE, BOB, CAROL):
            assert secret not in server.log.text


@pytest.mark.integration
@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="the system has no such signal")
def test_a_service_without_a_file_of_tokens_outlives_a_reload() -> None:
    with serving.process() as server, connect(server) as stream:
        os.kill(server.pid, signal.SIGHUP)
        for message in (start(), *blocks(SHORT, 5000), END):
            stream.send(message)
        assert listen(stream).close_code == 1000
