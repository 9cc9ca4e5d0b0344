"""Frozen programs: PyInstaller makes one of the wheel, it listens and starts no copy of itself."""

import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import soundfile

from helpers.processes import have_ended
from helpers.sound_server import SoundServer
from ser_live.testing import demo_voice

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs PulseAudio"),
]

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "frozen.md").read_text(encoding="utf-8")
PLAIN, WITH_A_PROCESS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python with the wheel and PyInstaller, and nothing of the checkout."""
    folder = tmp_path_factory.mktemp("frozen")
    wheel = ["wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT)]
    subprocess.run([sys.executable, "-m", "pip", "-q", *wheel], check=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    install = ["install", "pyinstaller>=6", *map(str, folder.glob("*.whl"))]
    subprocess.run([python, "-m", "pip", "-q", *install], check=True)
    return python


@pytest.mark.parametrize(
    ("program", "form", "children"),
    [
        pytest.param(PLAIN, "--onedir", 0, id="folder"),
        pytest.param(PLAIN, "--onefile", 1, id="file"),  # which unpacks itself and runs that
        pytest.param(WITH_A_PROCESS, "--onedir", 1, id="process"),
    ],
)
def test_a_frozen_program_hears_the_demo(
    program: str, form: str, children: int, python: Path, speaker: SoundServer, tmp_path: Path
) -> None:
    (tmp_path / "hear.py").write_text(program)
    build = [str(python), "-m", "PyInstaller", form, "--log-level", "ERROR", "hear.py"]
    subprocess.run(build, check=True, cwd=tmp_path)
    binary = tmp_path / "dist" / ("hear" if form == "--onefile" else "hear/hear")
    soundfile.write(tmp_path / "demo.wav", demo_voice(), 16000)
    labels, pids, seen = list[str](), set[int](), list[int]()
    with subprocess.Popen(
        [binary], env=speaker.environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            speaker.wait_for_recorders(1)
            with speaker.play(tmp_path / "demo.wav") as voice:
                for line in process.stdout or ():
                    labels.append(line.strip())
                    descendants = psutil.Process(process.pid).children(recursive=True)
                    seen.append(len(descendants))
                    pids |= {process.pid, *(child.pid for child in descendants)}
                voice.kill()
            assert process.wait(20.0) == 0
        finally:
            process.kill()
    print(form, f"{binary.stat().st_size / 2**20:.0f} MiB", labels, "children:", set(seen))
    assert len(labels) >= 5
    assert set(labels) <= {"neutral", "happy", "sad", "angry", "fearful", "disgust", "surprised"}
    assert set(seen) == {children}
    assert have_ended(pids)
    assert not [p for p in psutil.process_iter(["exe"]) if p.info["exe"] == str(binary)]
