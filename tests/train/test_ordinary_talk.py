"""Ordinary talk is heard by the live engine as it is used, and what is said of it is counted."""

import dataclasses
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from helpers.notes import Notes
from ser_live import StreamRecognizer
from ser_live.model.card import SAMPLE_RATE_HZ
from ser_live.model.classifier import OnnxClassifier
from ser_live.testing import demo_voice, tiny_card, write_tiny_model
from ser_train.commands import cli
from ser_train.data.recordings import Recordings
from ser_train.evaluation.clips import Evaluation
from ser_train.evaluation.live.conditions import CLEAN
from ser_train.evaluation.live.hearing import PRIORS, hear
from ser_train.evaluation.live.ordinary import UNCERTAIN, TalkFigures, sum_up
from ser_train.reports.conditions import talk_lines

LABELS = ("neutral", "calm", "sad")


@pytest.fixture(name="everyday", scope="module")
def model_with_everyday_odds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    card = tiny_card(prior={"neutral": 50.0, "happy": 0.5}, ordinary_odds=2.0)
    return write_tiny_model(tmp_path_factory.mktemp("model") / "everyday.onnx", card)


@pytest.fixture(name="talks", scope="module")
def folder_of_talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three people, one of whom says nothing."""
    folder, voices = tmp_path_factory.mktemp("talks"), np.split(demo_voice()[: 8 * 16000], 2)
    for name, samples in zip(("ann", "ben", "nil"), (*voices, voices[0] * 0), strict=True):
        soundfile.write(folder / f"{name}.wav", samples, SAMPLE_RATE_HZ, subtype="FLOAT")
    return folder


def test_shares_are_means_over_speakers_with_their_interval() -> None:
    counts = [
        Counter({"sad": 10}),
        Counter({"calm": 1, "neutral": 1, UNCERTAIN: 2}),
        Counter({"sad": 100, "neutral": 200, UNCERTAIN: 100}),
        Counter(),
    ]
    said = sum_up(CLEAN, "even", counts, LABELS)
    assert (said.speakers, said.hops) == (3, 414)
    assert said.emotion.mean == pytest.approx((1 + 0 + 0.25) / 3)
    assert said.neutral.mean == pytest.approx((0 + 0.5 + 0.5) / 3)
    assert said.uncertain.mean == pytest.approx((0 + 0.5 + 0.25) / 3)
    assert said.sure == pytest.approx({"neutral": 0.25, "calm": 0.25 / 3, "sad": 1.25 / 3})
    bounds = said.uncertain.interval
    assert bounds is not None
    half = 4.302653 * np.std([0, 0.5, 0.25], ddof=1) / np.sqrt(3)  # t of two degrees of freedom
    assert (bounds.low, bounds.high) == pytest.approx((0.0, 0.25 + half))
    assert sum_up(CLEAN, "even", counts[:2], LABELS).emotion.interval is None
    nothing = sum_up(CLEAN, "even", [Counter()], LABELS)
    figures = TalkFigures("a model", "one speaker", 1, (said, nothing))
    *_, heard, unheard = talk_lines(figures)
    assert unheard.split() == ["clean", "even", "0", "0"]
    assert len(heard.split()) > 4


def test_both_priors_hear_what_each_would_hear_alone(everyday: Path) -> None:
    classifier, voice = OnnxClassifier.load(everyday), demo_voice()[: 8 * SAMPLE_RATE_HZ]
    together = hear(classifier, np.array_split(voice, 7))
    for prior, predictions in zip(PRIORS, together, strict=True):
        recognizer = StreamRecognizer(everyday, prior=prior)
        assert predictions == recognizer.process(voice) + recognizer.flush()
    assert together[0] != together[1]


def test_each_recording_is_heard_as_the_live_engine_hears_it(
    talks: Path, everyday: Path, tmp_path: Path
) -> None:
    from ser_train.commands.evaluate import evaluate_live  # noqa: PLC0415 - Matplotlib takes a second

    job = Evaluation(everyday, Recordings(), report_folder=tmp_path, ordinary=(talks,))
    notes = Notes()
    lines = evaluate_live("ordinary", job, notes)
    data = json.loads((tmp_path / "ordinary.json").read_text())
    assert any("no speech is heard in 1 of 3 recordings" in note for note in notes.notes)
    assert data["recordings"] == 3
    named = [[said["condition"], said["prior"]] for said in data["said"]]
    assert named == [[c, p] for c in ("clean", "room", "telephone", "mp3") for p in PRIORS]
    for said in data["said"][:2]:
        counts = []
        for path in (talks / "ann.wav", talks / "ben.wav"):
            recognizer = StreamRecognizer(everyday, prior=said["prior"])
            predictions = recognizer.process(soundfile.read(path)[0].astype("f4"))
            heard = [p for p in predictions + recognizer.flush() if p.label]
            said_of = (p.label or "" if p.state == "speech" else UNCERTAIN for p in heard)
            counts.append(Counter(said_of))
        wanted = sum_up(CLEAN, said["prior"], counts, tiny_card().labels)
        assert said == json.loads(json.dumps(dataclasses.asdict(wanted)))
    everyday_neutral, even_neutral = (said["neutral"]["mean"] for said in data["said"][:2])
    assert everyday_neutral > even_neutral
    assert lines[0].startswith("3 speakers; the model file does not say who was in training")
    assert [line.split()[:2] for line in lines[3:]] == named
    assert "](ordinary.png)" in (tmp_path / "ordinary.md").read_text()
    assert (tmp_path / "ordinary.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_measures_chosen_speakers_and_refuses_mistakes(
    talks: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", str(tiny_model), "--ordinary", str(talks)]
    assert cli.main([*command, "--speakers", f"{talks.name}/ben"]) == 0
    assert capsys.readouterr().out.startswith(f"the speaker {talks.name}/ben; ")
    for arguments, reason in (
        ([*command, str(talks / "nowhere")], "nowhere is missing, wanted a folder with recordings"),
        ([*command, "--speakers", "eve"], "no speaker 'eve'"),
        ([*command, "--stream"], "not allowed with argument --ordinary"),
        ([*command, "--corpus", ".", "--drop", "sad"], "leave out --corpus, --drop"),
        (["evaluate", "nothing", *command[2:]], "there is no model 'nothing'"),
    ):
        assert cli.main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert reason in line
