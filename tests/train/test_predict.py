"""``ser-train predict``: what it says of recordings is what the live engine says."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

from ser_live import Prediction, StreamRecognizer
from ser_live.model.card import SmoothingSpec
from ser_live.model.classifier import OnnxClassifier
from ser_live.testing import demo_voice, tiny_card
from ser_train.commands import cli
from ser_train.commands.predict import predict, sum_up

RATE_HZ = 16000
VOICE = demo_voice()[: 8 * RATE_HZ]
NOISE = np.random.default_rng(0).standard_normal(5 * RATE_HZ)


def write(path: Path, samples: NDArray[np.floating], rate_hz: int = RATE_HZ) -> Path:
    soundfile.write(path, samples, rate_hz, subtype="FLOAT")
    return path


@pytest.mark.parametrize(
    ("samples", "state"),
    [
        (np.zeros(5 * RATE_HZ), "silence"),
        (0.1 * NOISE, "silence"),
        (demo_voice()[RATE_HZ : RATE_HZ + RATE_HZ // 10], "silence"),
        (np.pad(demo_voice()[: RATE_HZ * 7 // 10], (0, RATE_HZ)), "warming_up"),
    ],
    ids=["zeros", "noise", "a tenth of a second", "a word"],
)
def test_a_recording_without_speech_has_no_emotion(
    samples: NDArray[np.floating],
    state: str,
    tmp_path: Path,
    tiny_model: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write(tmp_path / "clip\n\x1b[31m.wav", samples)
    assert cli.main(["predict", str(tiny_model), str(path), "--json"]) == 0
    empty = {"label": None, "confidence": 0.0, "probabilities": None}
    assert json.loads(capsys.readouterr().out) == {"file": str(path), "state": state, **empty}
    assert cli.main(["predict", str(tiny_model), str(path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/clip ?[31m.wav\t{state}\t0.000\n"


@pytest.mark.parametrize("rate_hz", [8000, 44100])
def test_it_hears_what_the_live_engine_hears(
    rate_hz: int, tmp_path: Path, model: OnnxClassifier
) -> None:
    voice = soxr.resample(VOICE, RATE_HZ, rate_hz)
    path = write(tmp_path / "voice.wav", np.stack([voice, 0.5 * voice], axis=1), rate_hz)
    recognizer = StreamRecognizer(model, rate_hz, channels=2)
    alone = recognizer.process(soundfile.read(path, dtype="float32")[0]) + recognizer.flush()
    answer = predict(path, model)
    assert answer.state in ("speech", "uncertain")
    assert dataclasses.replace(answer, remarks=()) == sum_up(path, alone, model.card)
    assert ["input_narrow_band" in remark for remark in answer.remarks] == [True] * (
        rate_hz == 8000
    )


def test_its_prior_is_everyday_or_even(
    tmp_path: Path,
    everyday: OnnxClassifier,
    everyday_model: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write(tmp_path / "voice.wav", VOICE)
    said = []
    for words in ((), ("--prior", "everyday"), ("--prior", "even")):
        assert cli.main(["predict", str(everyday_model), str(path), *words]) == 0
        said.append(capsys.readouterr().out.strip())
    wanted = [predict(path, everyday, prior).line(as_json=False) for prior in (None, "even")]
    assert said == [wanted[0], *wanted]
    assert wanted[0] != wanted[1]


def prediction(start_seconds: float, end_seconds: float, share: float | None) -> Prediction:
    raw = None if share is None else {"calm": share, "angry": 1.0 - share}
    return Prediction(0, start_seconds, end_seconds, "speech", None, 0.0, raw, raw, changed=False)


@pytest.mark.parametrize(
    ("windows", "calm", "state"),
    [
        ([(0.0, 1.0, 0.9), (0.0, 2.0, 0.7)], 0.7, "speech"),
        ([(0.0, 3.0, 0.9), (1.0, 4.0, 0.5)], 0.8, "speech"),
        ([(0.0, 1.5, 0.9), (1.0, 2.0, None), (6.0, 6.5, 0.1)], 0.7, "speech"),
        ([(0.0, 3.0, 0.55), (3.5, 5.0, 0.55)], 0.55, "uncertain"),
    ],
    ids=["a longer window", "a window that slides", "two utterances", "under the threshold"],
)
def test_each_moment_of_speech_counts_once(
    windows: list[tuple[float, float, float | None]], calm: float, state: str
) -> None:
    card = tiny_card(labels=("calm", "angry"), smoothing=SmoothingSpec(uncertain_below=0.6))
    answer = sum_up(Path("a.wav"), [prediction(*window) for window in windows], card)
    assert (answer.state, answer.label) == (state, "calm")
    assert answer.probabilities == pytest.approx({"calm": calm, "angry": 1.0 - calm})
    assert answer.confidence == pytest.approx(calm)


def test_a_file_that_is_none_does_not_stop_the_others(
    tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, cut = (write(tmp_path / name, VOICE) for name in ("good.wav", "cut.wav"))
    cut.write_bytes(cut.read_bytes()[:-50_000])
    bad = [tmp_path / name for name in ("folder", "text.m4a", "none.wav", "empty.wav")]
    bad[0].mkdir()
    bad[1].write_text("no audio")
    bad[3].touch()
    files = [bad[0], good, *bad[1:], cut, good]
    assert cli.main(["predict", str(tiny_model), *map(str, files)]) == 2
    output = capsys.readouterr()
    named = [Path(line.split("\t")[0]) for line in output.out.splitlines()]
    assert named == [good, cut, good]
    starts = [*(f"error: {path}: " for path in bad), f"note: {cut}: "]
    for start, line in zip(starts, output.err.splitlines(), strict=True):
        assert line.startswith(f"ser-train: {start}")
