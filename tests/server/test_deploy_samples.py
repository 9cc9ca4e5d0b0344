"""The samples of docs/deploy for systemd, compose and Kubernetes: valid, and true of the server."""

import errno
import json
import platform
import re
import shlex
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ser_live.server.settings import Settings, parse
from ser_live.server.streams import _FLUSH_SECONDS
from ser_live.server.uvicorn_server import _GOODBYE_SECONDS, _LEAST_SECONDS

yaml = pytest.importorskip("yaml")

FOLDER = Path(__file__).parents[2] / "docs" / "deploy"
UNIT = FOLDER / "ser-serve.service"
TOKEN = "a-token-of-the-tests"


def stop_seconds(settings: Settings) -> float:
    """Return how long a server may take to stop."""
    after_seconds = _FLUSH_SECONDS + _GOODBYE_SECONDS + _LEAST_SECONDS
    return settings.drain_delay + settings.drain_seconds + after_seconds


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text("utf-8")))


def unit_value(key: str) -> str:
    (found,) = re.findall(rf"^{key}=(.*)$", UNIT.read_text("utf-8"), re.MULTILINE)
    return str(found)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_the_unit_and_finds_it_closed(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    # What has to be there on the machine that runs it, and is not here.
    unit.write_text(UNIT.read_text("utf-8").replace("/opt/ser-live/bin/ser-serve", sys.executable))
    for words in (["verify"], ["security", "--offline=yes", "--threshold=20"]):
        command = ["systemd-analyze", *words, "--no-pager", str(unit)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        assert unit.name not in done.stderr


def test_the_unit_starts_the_server_and_waits_for_its_end(tmp_path: Path) -> None:
    program, *options = shlex.split(unit_value("ExecStart"))
    assert Path(program).name == "ser-serve"
    config = tmp_path / "config.toml"
    config.write_text('allow_host = ["voice.example"]\nroot_path = "/ser"\n')
    settings = parse([o.replace("/etc/ser-serve/config.toml", str(config)) for o in options])
    assert (settings.root_path, settings.hosts) == ("/ser", ("voice.example",))
    assert float(unit_value("TimeoutStopSec")) > stop_seconds(settings)
    assert "-HUP" in unit_value("ExecReload")
    # It would hide /proc/stat, without which there are no metrics of the process.
    assert "\nProcSubset=" not in UNIT.read_text("utf-8")


# All of @resources on x86-64, from ioprio_set to setrlimit.
_FILTERED = """
import ctypes, os, struct, sys
numbers, outcome = [251, 237, 256, 279, 203, 314, 142, 144, 238, 141, 160], int(sys.argv[1])
rules = [(0x20, 0, 0, 0), *((0x15, 11 - at, 0, n) for at, n in enumerate(numbers))]
rules += [(6, 0, 0, 0x7FFF0000), (6, 0, 0, outcome)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 14, ctypes.addressof(code)))
system = ctypes.CDLL(None)
assert system.prctl(38, 1, 0, 0, 0) == 0 and system.prctl(22, 2, program, 0, 0) == 0
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


@pytest.mark.integration
@pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64"), reason="numbers of x86-64"
)
def test_the_server_can_be_loaded_under_the_units_filter() -> None:
    """Where the unit kills for a system call that is filtered, it is numpy that dies."""
    assert "SystemCallFilter=~@privileged @resources" in UNIT.read_text("utf-8")
    refused = 0x0005_0000 | getattr(errno, unit_value("SystemCallErrorNumber"))
    command = [sys.executable, "-c", _FILTERED, str(refused)]
    subprocess.run([*command, "-c", "import ser_live.server.uvicorn_server"], check=True)


def test_compose_waits_for_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    (document,) = documents("compose.yaml")
    service = document["services"]["ser-serve"]
    assert re.match(r"\$\{SER_TOKEN:\?", service["environment"]["SER_TOKEN"])
    monkeypatch.setenv("SER_TOKEN", TOKEN)
    settings = parse(["--host", "0.0.0.0", *service["command"]])
    assert settings.token == TOKEN
    assert service["ports"] == [f"127.0.0.1:{settings.port}:{settings.port}"]
    assert float(service["stop_grace_period"].removesuffix("s")) > stop_seconds(settings)
    # The check goes by the variables alone, so what it asks for may be no option of the command.
    assert service["healthcheck"]["test"] == ["CMD", "ser-serve", "--check-health"]
    assert settings.port == parse([]).port


def test_compose_fits_its_schema() -> None:
    schemas = pytest.importorskip("check_jsonschema.builtin_schemas")
    file = resources.files(schemas) / "vendor" / "compose-spec.json"
    jsonschema.validate(documents("compose.yaml")[0], json.loads(file.read_text("utf-8")))


def test_kubernetes_probes_drains_and_scales_what_the_server_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deployment, service, scaler = documents("kubernetes.yaml")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    monkeypatch.setenv("SER_TOKEN", TOKEN)
    settings = parse(["--host", "0.0.0.0", *container["args"]])
    assert pod["terminationGracePeriodSeconds"] > stop_seconds(settings)
    # A drain has to be noticed before the server refuses streams.
    assert container["readinessProbe"]["periodSeconds"] < settings.drain_delay
    assert container["ports"] == [{"name": "http", "containerPort": settings.port}]
    assert service["spec"]["ports"][0]["targetPort"] == "http"
    paths = {name: probe["httpGet"] for name, probe in container.items() if "Probe" in name}
    assert {name: (one["path"], one["port"]) for name, one in paths.items()} == {
        "startupProbe": ("/readyz", "http"),
        "readinessProbe": ("/readyz", "http"),
        "livenessProbe": ("/healthz", "http"),
    }
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert labels == service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    (metric,) = scaler["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == "ser_streams_open"
    assert int(metric["pods"]["target"]["averageValue"]) < settings.limits.max_streams


def test_kubernetes_fits_its_schemas() -> None:
    checked = pytest.importorskip("kubernetes_validate")
    for document in documents("kubernetes.yaml"):
        checked.validate(document, "1.31", strict=True)
