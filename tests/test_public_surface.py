"""Names, flags, JSON keys, card fields, metrics and exit codes that users rely on.

After a change that is meant, ``python tests/test_public_surface.py`` writes the snapshot anew; look
at what it changed, and say so in the changelog.
"""

import importlib
import json
import re
import sys
import tempfile
import tomllib
import typing
import urllib.request
from dataclasses import fields
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from helpers.in_process import call

ROOT = Path(__file__).parent.parent
SNAPSHOT = Path(__file__).with_suffix(".json")
SUBCOMMANDS = {
    "ser-live": ("", "replay", "batch", "doctor"),
    "ser-serve": ("",),
    "ser-bench": ("",),
    "ser-train": (
        "",
        "fit",
        "cross-validate",
        "report",
        "compare",
        "evaluate",
        "ensemble",
        "predict",
    ),
    "ser-export": ("",),
}
MISTAKES = {
    "ser-live": ("--file", "no-such-file.wav"),
    "ser-serve": ("--port", "no-number"),
    "ser-bench": ("--model", "no-such-model"),
    "ser-train": ("predict", "no-such-model.keras", "no-such-file.wav"),
    "ser-export": ("no-such-model.keras", "-o", "never.onnx"),
}


def run(command: str, *words: str) -> tuple[int, str]:
    """Run a command in this process; return its exit code and what it printed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    module, _, function = project["scripts"][command].partition(":")
    # Some parsers take their name from the program that runs.
    with mock.patch.object(sys, "argv", [command, *words]):
        done = call(*words, main=getattr(importlib.import_module(module), function))
    return done.returncode, done.stdout


def flags(command: str, subcommand: str) -> list[str]:
    """Return the flags that ``--help`` names at the start of a line."""
    code, text = run(command, *subcommand.split(), "--help")
    assert code == 0
    starts = re.findall(r"^  (-[^ ].*?)(?:  |$)", text, re.MULTILINE)
    return sorted({flag for start in starts for flag in re.findall(r"--?[a-z][a-z0-9-]*", start)})


def shape(value: object) -> object:
    """Return a JSON value with its numbers, texts and emotions replaced by their types."""
    if isinstance(value, dict):
        return {key: shape(part) for key, part in sorted(value.items())}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if isinstance(value, (int, float)) else type(value).__name__


def json_lines(folder: Path) -> dict[str, object]:
    """Return one JSON line of each kind that a file of the demo gives."""
    out = folder / "demo.jsonl"
    code, printed = run("ser-live", "--demo", "--pace", "fast", "--json", "--output", str(out))
    assert code == 0
    kinds: dict[str, object] = {}
    for line in out.read_text("utf-8").splitlines():
        record = json.loads(line)
        if record.get("state", "speech") == "speech":
            kinds[record["type"]] = shape(record)
    lines = [json.loads(line) for line in printed.splitlines()]
    kinds["stdout"] = shape(next(line for line in lines if line["state"] == "speech"))
    return kinds


def card_fields(value: object, path: str = "") -> set[str]:
    """Return the paths of a card's fields."""
    if not isinstance(value, dict):
        return {path}
    return set().union(*(card_fields(part, f"{path}/{key}") for key, part in value.items()))


def surface() -> dict[str, Any]:
    """Return what users rely on, as far as it shows without other processes."""
    import onnx  # noqa: PLC0415

    import ser_live  # noqa: PLC0415 - collecting tests needs none of it
    import ser_live.batch  # noqa: PLC0415
    import ser_live.client  # noqa: PLC0415
    import ser_live.server  # noqa: PLC0415
    import ser_live.testing  # noqa: PLC0415
    from ser_live.output import json_record  # noqa: PLC0415

    model = onnx.load(ROOT / "models" / "emotion.onnx", load_external_data=False)
    card = next(entry.value for entry in model.metadata_props if entry.key == "ser.card")
    kinds = typing.get_type_hints(ser_live.Event)["kind"]
    with tempfile.TemporaryDirectory() as folder:
        lines = json_lines(Path(folder))
    event = ser_live.Event(typing.get_args(kinds)[0], 1.0, "")
    return {
        "names": {
            "ser_live": sorted(ser_live.__all__),
            "ser_live.batch": sorted(ser_live.batch.__all__),
            "ser_live.client": sorted(ser_live.client.__all__),
            "ser_live.server": sorted(ser_live.server.__all__),
            "ser_live.testing": sorted(ser_live.testing.__all__),
        },
        "prediction": [field.name for field in fields(ser_live.Prediction)],
        "card": sorted(card_fields(json.loads(card))),
        "event kinds": sorted(typing.get_args(kinds)),
        "json lines": {**lines, "event": shape(json_record(event))},
        "flags": {
            f"{command} {subcommand}".strip(): flags(command, subcommand)
            for command, subcommands in SUBCOMMANDS.items()
            for subcommand in subcommands
        },
        "exit codes": {
            "version": {command: run(command, "--version")[0] for command in SUBCOMMANDS},
            "mistake": {command: run(command, *words)[0] for command, words in MISTAKES.items()},
            "unknown flag": {command: run(command, "--nothing")[0] for command in SUBCOMMANDS},
        },
    }


def measured_surface() -> dict[str, Any]:
    """Return what readers of the server, the doctor and the benchmark rely on."""
    from helpers import serving  # noqa: PLC0415 - it starts a process

    with serving.process() as server:

        def get(path: str) -> str:
            with urllib.request.urlopen(server.url + path) as reply:
                return str(reply.read().decode())

        metrics = re.findall(r"^# TYPE (ser_\S+) (\S+)$", get("/metrics"), re.MULTILINE)
        paths = json.loads(get("/openapi.json"))["paths"]
        doctor = run("ser-live", "doctor", "--no-microphone", "--json")[1]
        bench = run("ser-bench", "--json", "--seconds", "2", "--paced-seconds", "0")[1]
        return {
            "doctor": {
                one["name"]: sorted(one["figures"]) for one in json.loads(doctor)["findings"]
            },
            "bench": shape(json.loads(bench)),
            "metrics": dict(sorted(metrics)),
            "requests": sorted(f"{way.upper()} {path}" for path in paths for way in paths[path]),
            "stream schema": without_prose(json.loads(get("/v1/schema"))),
            "models": shape(json.loads(get("/v1/models"))),
        }


def without_prose(value: Any) -> Any:
    """Return a schema without the sentences that explain it."""
    if isinstance(value, dict):
        prose = ("description", "title")
        return {k: without_prose(v) for k, v in sorted(value.items()) if k not in prose}
    return [without_prose(part) for part in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def snapshot() -> dict[str, Any]:
    return dict(json.loads(SNAPSHOT.read_text("utf-8")))


def test_what_users_rely_on_is_as_it_was(snapshot: dict[str, Any]) -> None:
    now = surface()
    assert now == {part: snapshot[part] for part in now}


@pytest.mark.integration
def test_what_other_programs_read_is_as_it_was(snapshot: dict[str, Any]) -> None:
    now = measured_surface()
    assert now == {part: snapshot[part] for part in now}


if __name__ == "__main__":
    whole = {**surface(), **measured_surface()}
    SNAPSHOT.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", "utf-8")
