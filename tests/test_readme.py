"""The README and the pages beside it work: programs run, commands and files exist."""

import re
import subprocess
import sys
import typing
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import soundfile

import ser_live
from ser_live.events import EventKind

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = [
    pytest.param(program, id=f"{page.stem}-{number}")
    for name in ("README.md", "docs/python-api.md", "docs/batch.md", "docs/outputs.md")
    for page in (ROOT / name,)
    for number, program in enumerate(
        re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    )
]
COMMANDS = sorted(set(re.findall(r"(ser-(?:live|bench|train|export)(?: [^`\n|]+)?)`", README)))


@pytest.mark.integration
@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_run(program: str, tmp_path: Path, environment: dict[str, str]) -> None:
    demo = Path(ser_live.__file__).parent / "data" / "demo.ogg"
    samples, rate = soundfile.read(demo, stop=22050 * 4)
    soundfile.write(tmp_path / "talk.wav", samples, rate)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.integration
@pytest.mark.parametrize("command", COMMANDS)
def test_commands_have_the_options_that_are_shown(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tool, *words = command.replace("\\", "").split()
    has_sub = tool in ("ser-train", "ser-live") and words and not words[0].startswith("-")
    sub = words[:1] if has_sub else []
    main = entry_points(group="console_scripts")[tool].load()
    assert main([*sub, "--help"]) == 0
    flags = {word for word in words if re.fullmatch(r"--?[a-zA-Z][a-z-]*", word)}
    assert flags <= set(re.findall(r"--?[a-zA-Z][a-z-]*", capsys.readouterr().out))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_into_the_repository_exist(page: Path) -> None:
    targets = re.findall(r"\]\(((?!https?://)[^)#]+)\)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_two_commands_are_the_documented_ones() -> None:
    first = "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/ser-live --demo"
    second = ".venv/bin/pip install -e '.[dev]' && .venv/bin/python -m pytest"
    assert first in README
    assert second in README


def test_every_event_is_explained() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert explained == set(typing.get_args(EventKind))
