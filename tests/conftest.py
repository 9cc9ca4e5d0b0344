"""Fixtures for all tests."""

import gc
import importlib
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import soundfile
from hypothesis import settings

from helpers import sound_server
from ser_live.model.classifier import OnnxClassifier
from ser_live.sources import DEMO_PATH
from ser_live.testing import tiny_card, write_tiny_model

if TYPE_CHECKING:
    from helpers import tiny_network

# The same examples in every run: what fails here fails everywhere. `.ci/run --long` takes more.
settings.register_profile(
    "repeatable", max_examples=40, derandomize=True, database=None, deadline=None
)
settings.register_profile("thorough", settings.get_profile("repeatable"), max_examples=1000)
settings.load_profile("repeatable")

gc.disable()  # to look through all that is imported, again and again, takes seconds

if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    # Two processes that compile librosa's kernels at once would spoil the cache that they share.
    caches = Path(__file__).parent.parent / ".pytest_cache"
    os.environ["NUMBA_CACHE_DIR"] = str(caches / f"numba-{worker}")

# A run that was started in the background ignores Ctrl-C, and so would the commands it tests.
signal.signal(signal.SIGINT, signal.default_int_handler)

_MARK_OF_A_FILE = re.compile(
    r"^pytestmark = \[?\s*pytest\.mark\.(integration|long)\b", re.MULTILINE
)

SOURCE_ROOTS = [
    str(Path(__file__).parent.parent / p) for p in ("realtime", "train", "export", "tests")
]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out a file of which no test is wanted, without the seconds that its imports take."""
    if collection_path.suffix != ".py":
        return None
    marks = _MARK_OF_A_FILE.findall(collection_path.read_text("utf-8"))
    return any(f"not {mark}" in config.option.markexpr for mark in marks) or None


def pytest_collection_finish() -> None:
    """Collect garbage again, but never what was imported."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what imports TensorFlow first: so one process of two does it, and the other takes over
    the rest, which it steals from the end."""
    places = ("train", "export", "test_public_surface", "test_smoke")
    items.sort(key=lambda item: not {item.path.parent.name, item.path.stem}.intersection(places))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file that loads in no time."""
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="session")
def model(tiny_model: Path) -> OnnxClassifier:
    """The same, loaded: tests may share it, as streams do."""
    return OnnxClassifier.load(tiny_model)


@pytest.fixture(scope="session")
def everyday_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network with an everyday prior, and an output that tells ordinary talk."""
    card = tiny_card(name="everyday", prior={"neutral": 8.0, "sad": 0.5}, ordinary_odds=2.0)
    return write_tiny_model(tmp_path_factory.mktemp("model") / "everyday.onnx", card)


@pytest.fixture(scope="session")
def everyday(everyday_model: Path) -> OnnxClassifier:
    """The same, loaded."""
    return OnnxClassifier.load(everyday_model)


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> "tiny_network.Fitted":
    """The tiny network, trained once for all tests of a process."""
    from helpers import tiny_network  # noqa: PLC0415 - Keras takes seconds

    return tiny_network.fit_once(tmp_path_factory.mktemp("fitted"))


@pytest.fixture(scope="session")
def half_demo_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two of the demo's four utterances, 9.75 s, in a file of its name."""
    path = tmp_path_factory.mktemp("demo") / DEMO_PATH.name
    samples, rate_hz = soundfile.read(DEMO_PATH, dtype="float32")
    soundfile.write(path, samples[: round(9.75 * rate_hz)], rate_hz)
    return path


@pytest.fixture
def half_demo(half_demo_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let ``--demo`` be the half of it."""
    monkeypatch.setattr("ser_live.sources.DEMO_PATH", half_demo_file)
    return half_demo_file


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the pictures of trainings empty: to draw them takes longer than to train."""
    monkeypatch.setattr(
        "matplotlib.figure.Figure.savefig", lambda _, path, **__: Path(path).write_bytes(b"")
    )


@pytest.fixture
def speaker(tmp_path: Path) -> Iterator[sound_server.SoundServer]:
    """A sound server: what its speaker plays, its microphone hears."""
    if not sound_server.is_installed():
        pytest.skip("pulseaudio is not installed")
    with sound_server.SoundServer(tmp_path / "sound") as server:
        yield server


@pytest.fixture
def fake_sounddevice(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The fake of sounddevice, new for each test."""
    monkeypatch.syspath_prepend(Path(__file__).parent / "helpers" / "fake_audio")
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    fake = importlib.import_module("sounddevice")
    yield fake
    fake.is_over.set()
    del sys.modules["sounddevice"]


@pytest.fixture
def environment() -> dict[str, str]:
    """Environment that our processes need in a checkout without an installation."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(SOURCE_ROOTS)}
