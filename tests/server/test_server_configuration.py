"""Settings from flags, variables and a file: which one counts, what is refused, what is shown."""

import re
from pathlib import Path

import pytest

from helpers.in_process import call, error_of
from ser_live import SerError
from ser_live.server import main
from ser_live.server.settings import Limits, Settings, parse

SECRET = "correct-horse-battery"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ser.toml"
    path.write_text('port = 1\nmax_streams = 1\norigin = ["https://a.example/"]\n')
    return path


def test_an_option_counts_before_a_variable_and_that_before_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SER_CONFIG", str(file))
    monkeypatch.setenv("SER_MAX_STREAMS", "2")
    monkeypatch.setenv("SER_HOST", "")  # as compose files give what is not set
    found = parse([])
    assert found.limits.max_streams == found.asked_streams == 2
    assert (found.port, found.host) == (1, "127.0.0.1")
    assert found.origins == ("https://a.example",)
    as_people_type = parse(["--origin", "https://A.Example:443/", "--allow-host", "Voice.Example"])
    assert as_people_type.origins == found.origins
    assert as_people_type.hosts == ("voice.example",)
    assert parse(["--max-streams", "3"]).limits.max_streams == 3
    other = file.with_name("other.toml")
    other.write_text("max_seconds = 9\n", "utf-8-sig")
    found = parse(["--config", str(other)])
    assert (found.port, found.limits.max_seconds) == (Settings().port, 9.0)


def test_every_setting_can_be_given_in_each_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values: dict[str, object] = {
        name: 7 for name in Limits.__dataclass_fields__ if name != "max_streams_per_address"
    }
    values |= {"port": 7, "host": "localhost", "token": SECRET, "log_level": "error", "tokens": "t"}
    lists = {"origin": ["http://a", "http://b"], "allow_host": ["a", "b"], "model": ["m", "n"]}
    flags = [
        word
        for key, given in {**values, **lists}.items()
        for one in (given if isinstance(given, list) else [given])
        for word in ("--" + key.replace("_", "-"), str(one))
    ]
    wanted = parse(flags)
    assert wanted.token == SECRET
    assert wanted.models == ("m", "n")
    file = tmp_path / "ser.toml"
    file.write_text("".join(f"{key} = {given!r}\n" for key, given in {**values, **lists}.items()))
    assert parse(["--config", str(file)]) == wanted
    for key, given in {**values, **lists}.items():
        text = ", ".join(given) if isinstance(given, list) else str(given)
        monkeypatch.setenv(f"SER_{key.upper()}", text)
    assert parse([]) == Settings.from_environment() == wanted


MISTAKES = {
    "max_stream = 1": "no setting 'max_stream', wanted max_streams",
    "max-streams = 1": "no setting 'max-streams', wanted max_streams",
    "[limits]\nmax_streams = 1": "no setting 'limits', wanted allow_host",
    'max_streams = "1"': "max_streams is '1', wanted a whole number above 0",
    "max_streams = 1.5": "max_streams is 1.5, wanted a whole number above 0",
    "max_streams = true": "max_streams is True, wanted a whole number above 0",
    "max_seconds = nan": "max_seconds is nan, wanted a number of seconds above 0",
    "max_seconds = 1" + 400 * "0": "max_seconds is 1",
    "port = 65536": "port is 65536, wanted 0 to 65535",
    'origin = "https://a"': "origin is 'https://a', wanted a list",
    "origin = [1]": "origin is 1, wanted something like https://name",
    'origin = ["https://*.example"]': "wanted something like https://name",
    'allow_host = ["a.example:80"]': "wanted a name like voice.example, without scheme and port",
    'allow_host = ["https://a.example"]': "wanted a name like voice.example",
    'log_level = "loud"': "log_level is 'loud', wanted one of debug, info",
    'certificate = "/none.pem"': "certificate is '/none.pem', wanted a PEM file",
    "port =": "is no TOML (Invalid value (at",
    "port = 1\nport = 2": "is no TOML (",
    "x = " + 5000 * "[": "is no TOML (",
    "\xff": "is no TOML (",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_in_the_file_names_file_key_and_what_was_wanted(
    text: str, tmp_path: Path
) -> None:
    file = tmp_path / "ser.toml"
    file.write_bytes(text.encode("latin-1"))
    line = error_of(call("--config", str(file), "--print-config", main=main), "ser-serve")
    assert str(file) in line
    assert MISTAKES[text] in line


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.toml"):
        line = error_of(call("--config", str(path), main=main), "ser-serve")
        assert f"{path}: cannot read it (" in line
    huge = tmp_path / "huge.toml"
    huge.write_bytes(b"#" * (2**20 + 1))
    line = error_of(call("--config", str(huge), main=main), "ser-serve")
    assert f"{huge}: is larger than 1048576 bytes" in line


@pytest.mark.parametrize(
    ("variable", "text", "told"),
    [
        ("SER_PORT", "tcp://10.0.0.1:8321", "SER_PORT is 'tcp://10.0.0.1:8321', wanted 0 to"),
        ("SER_MAX_SECONDS", "long", "SER_MAX_SECONDS is 'long', wanted a number of seconds"),
        ("SER_MAX_SECONDS", "inf", "SER_MAX_SECONDS is 'inf', wanted a number of seconds"),
        ("SER_HOST", "no.such.invalid", "SER_HOST is 'no.such.invalid', wanted a name or"),
        ("SER_CONFIG", "/none.toml", "/none.toml: cannot read it"),
    ],
)
def test_a_mistake_in_a_variable_names_it(
    variable: str, text: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, text)
    assert told in error_of(call(main=main), "ser-serve")


def test_a_token_that_does_not_fit_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SER_TOKEN", "secret!")
    line = error_of(call(main=main), "ser-serve")
    assert "SER_TOKEN does not fit, wanted 16 to 200" in line
    assert "secret!" not in line


def test_print_config_tells_each_value_and_its_origin_and_can_be_given_back(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SER_SERVE_TOKEN", SECRET)
    monkeypatch.setenv("SER_MAX_SECONDS", "9.5")
    words = ["--config", str(file), "--port", "5", "--model", 'odd "name"\\\x7f']
    done = call(*words, "--print-config", main=main)
    assert done.returncode == 0
    assert SECRET not in done.stdout
    for line in (
        "port = 5  # --port",
        f"max_streams = 1  # {file}: max_streams",
        "max_seconds = 9.5  # SER_MAX_SECONDS",
        "# token: hidden  # SER_SERVE_TOKEN",
        '# host = "127.0.0.1"  # default',
        "# max_streams_per_address: none  # default",
    ):
        assert line in done.stdout.splitlines()
    keys = re.findall(r"^(?:# )?(\w+)(?: =|:) ", done.stdout, re.MULTILINE)
    assert set(keys) >= set(Limits.__dataclass_fields__)
    printed = tmp_path / "printed.toml"
    printed.write_text(done.stdout, "utf-8")
    assert parse(["--config", str(printed)]) == parse(words)


def test_print_config_tells_that_a_token_will_be_made() -> None:
    done = call("--host", "0.0.0.0", "--print-config", main=main)
    assert "# token: hidden  # made at each start" in done.stdout.splitlines()


def test_programs_are_told_of_values_that_do_not_fit() -> None:
    with pytest.raises(SerError, match="max_streams is 0, wanted a whole number above 0"):
        Limits(max_streams=0)
    with pytest.raises(SerError, match="port is -1, wanted 0 to 65535"):
        Settings(port=-1)


def test_no_token_is_made_where_none_can_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SER_HOST", "0.0.0.0")
    assert parse([]).token
    with pytest.raises(SerError, match="set SER_TOKEN"):
        Settings.from_environment()
