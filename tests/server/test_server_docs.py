"""docs/server.md names everything that the server has, and nothing else."""

import re
import typing
from dataclasses import fields
from pathlib import Path

import pytest

from helpers import serving
from ser_live.events import EventKind
from ser_live.server.connection import CloseReason
from ser_live.server.messages import Start
from ser_live.server.settings import Limits, parse
from ser_live.stream_protocol import ErrorCode

PAGE = (Path(__file__).parents[2] / "docs" / "server.md").read_text("utf-8")


def section(title: str) -> str:
    found = re.search(rf"^#+ {title}.*?\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def test_every_option_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"])
    options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help", "--version"}
    told = section("Options and limits")
    assert options <= set(re.findall(r"--[a-z-]+", told))
    for field in fields(Limits):
        option = "--" + field.name.replace("_", "-")
        default = "none" if field.default is None else f"{field.default:.0f}"
        assert re.search(rf"^\| `{option}` \|.*\| {default} \|$", told, re.MULTILINE), option


def test_variables_of_commands_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    told = re.findall(r"(?<=-e )(SER_\w+)=(\S+)", section("In a container"))
    assert told
    for name, value in told:
        monkeypatch.setenv(name, value)
    assert parse([]).is_guarded


def test_every_error_is_told_with_its_close_code() -> None:
    told = section("Streams")
    for code in typing.get_args(ErrorCode):
        (row,) = [line for line in told.splitlines() if re.match(rf"\|[^|]*`{code}`", line)]
        assert str(CloseReason(code).close_code) in row


def test_every_field_of_the_start_is_told() -> None:
    told = section("Streams")
    for name, field in Start.model_fields.items():
        assert name == "type" or f"| `{name}` |" in told
        if isinstance(field.default, float):
            assert re.search(rf"\| `{name}` \|.*\| {field.default} \|", told)


def test_events_are_ones_that_exist() -> None:
    line = re.search(r"^Events: (.*?)\n\n", PAGE, re.DOTALL | re.MULTILINE)
    assert line is not None
    names = set(re.findall(r"`(\w+)`", line[1]))
    assert len(names) == 10
    assert names <= set(typing.get_args(EventKind))


def test_every_metric_is_told() -> None:
    with serving.server() as server:
        text = server.get("/metrics").text
        assert server.figure("ser_tasks") >= 1
    names = set(re.findall(r"^# TYPE (ser_\w+)", text, re.MULTILINE))
    assert names == set(re.findall(r"`(ser_\w+)", section("Metrics")))
