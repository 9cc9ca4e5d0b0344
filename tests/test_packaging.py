"""Contents of the wheel: all that a user's site-packages will hold, and what it needs."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from helpers.processes import imported
from ser_live import __version__
from test_public_surface import SUBCOMMANDS, run

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation",
            "--disable-pip-version-check", "-w", str(folder), str(ROOT),
        ],
        check=True,
    )  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    assert wheel.name == f"ser_live-{__version__}-py3-none-any.whl"
    assert wheel.stat().st_size <= 60 * 10**6
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@pytest.mark.integration
def test_the_wheel_holds_three_packages_with_their_data_and_nothing_else(
    members: list[str],
) -> None:
    tops = {name.split("/")[0] for name in members}
    assert tops == {"ser_live", "ser_train", "ser_export", f"ser_live-{__version__}.dist-info"}
    shipped = {path.name for path in (ROOT / "models").glob("*.onnx")}
    inside = {name.rpartition("/")[2] for name in members if name.startswith("ser_live/models/")}
    assert inside == shipped | {"recordings.json"}
    data = ("demo.ogg", "demo.json", "silero_vad_16k.onnx", "silero_vad_licence.txt")
    assert {"ser_live/py.typed", *(f"ser_live/data/{name}" for name in data)} <= {*members}
    page = ROOT / "realtime" / "ser_live" / "server" / "page"
    assert {f"ser_live/server/page/{file.name}" for file in page.iterdir()} <= {*members}
    assert "ser_live/server/page/index.html" in members
    assert not [name for name in members if name.endswith((".keras", ".md"))]
    assert not [name for name in members if "/make_" in name]


@pytest.mark.integration
def test_the_runtime_imports_nothing_heavy(environment: dict[str, str]) -> None:
    heavy = (
        "tensorflow", "keras", "librosa", "numba", "sounddevice", "torch", "matplotlib",
        "ser_train", "ser_export", "ser_live.server", "fastapi", "uvicorn", "pydantic",
        "websockets", "prometheus_client",
    )  # fmt: skip
    assert imported("from ser_live import StreamRecognizer, listen", heavy, environment) == "[]"


@pytest.mark.integration
@pytest.mark.parametrize("tool", ["ser_live.cli.main", "ser_live.bench.command", "ser_live.server"])
def test_help_needs_no_engine(tool: str, environment: dict[str, str]) -> None:
    code = (
        f"import runpy; sys.argv = ['{tool}', '--help']\n"
        f"try: runpy.run_module('{tool}', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code"
    )
    assert imported(code, ("onnxruntime", "sounddevice", "numpy"), environment) == "[]"


@pytest.mark.integration
def test_the_runtime_writes_nothing_of_its_use(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "realtime")}
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        environment.pop(name, None)
    code = "from ser_live import StreamRecognizer; StreamRecognizer().process([0.0] * 20000)"
    subprocess.run([sys.executable, "-B", "-c", code], env=environment, check=True, timeout=60)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", SUBCOMMANDS)
def test_every_command_says_its_version(command: str) -> None:
    assert run(command, "--version") == (0, f"{command} {__version__}\n")
