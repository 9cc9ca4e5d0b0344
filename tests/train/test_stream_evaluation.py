"""A stream whose onsets and emotions are known is measured right."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from helpers import tiny_corpora
from helpers.notes import Notes
from ser_live import Prediction, StreamRecognizer
from ser_live.model.card import SAMPLE_RATE_HZ
from ser_live.model.classifier import OnnxClassifier
from ser_live.prediction import State
from ser_live.sources import DEMO_PATH
from ser_live.testing import demo_voice, tiny_card, write_tiny_model
from ser_train.commands import cli
from ser_train.corpora import Clip
from ser_train.data.recordings import Recordings
from ser_train.evaluation.clips import Voice, find_voices, leakage, record_of
from ser_train.evaluation.live import stream
from ser_train.evaluation.live import stream_measures as measures
from ser_train.evaluation.live.sounds import make_sounds
from ser_train.evaluation.live.stream import Track, measure_stream, play
from ser_train.evaluation.live.stream_measures import Span

MODELS = Path(__file__).parents[2] / "models"
OUTSIDE = """
import sys
from ser_train.commands import cli
from ser_train.evaluation.live import conditions, stream

stream.SOUND_SECONDS, conditions.BED_SECONDS = 4.0, 20.0
status = cli.main({arguments!r} + ["--stream"]) or cli.main({arguments!r} + ["--conditions"])
sys.exit(status or "tensorflow" in sys.modules)
"""
EMOTIONS = {"calm": "neutral", "excited": "happy", "sad": "sad", "angry": "angry"}


@pytest.fixture(name="spoken", scope="module")
def spoken_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four utterances of the demo voice, each after 0.7 s of near silence."""
    folder = tmp_path_factory.mktemp("spoken")
    voice = demo_voice()
    timeline = json.loads(DEMO_PATH.with_suffix(".json").read_text())["timeline"]
    rows = ["path,label,speaker"]
    for part in timeline:
        if part["kind"] != "utterance":
            continue
        start, end = (round(part[f"{name}_seconds"] * SAMPLE_RATE_HZ) for name in ("start", "end"))
        samples = np.concatenate((voice[-11200:], voice[start:end], voice[-3200:]))
        label = EMOTIONS[part["temperament"]]
        soundfile.write(folder / f"{label}.wav", samples, SAMPLE_RATE_HZ, subtype="FLOAT")
        rows.append(f"{label}.wav,{label},{'anna' if label in ('happy', 'neutral') else 'ben'}")
    table = folder / "spoken.csv"
    table.write_text("\n".join(rows) + "\n")
    return table


@pytest.fixture(name="voices", scope="module")
def spoken_voices(spoken: Path) -> tuple[Voice, ...]:
    return find_voices(Recordings(manifests=(spoken,)).find(), "recordings", Notes(), skip=False)


def test_the_track_holds_each_speech_where_it_says(voices: tuple[Voice, ...]) -> None:
    track = Track(voices, seed=3)
    whole = np.concatenate(list(track.pieces()))
    assert len(whole) / SAMPLE_RATE_HZ == pytest.approx(track.seconds, abs=1e-4)
    before = -0.5
    for span in track.spans:
        assert span.onset_seconds == pytest.approx(before + 1.0, abs=1e-4), "pauses of a second"
        start, stop = (round(at * SAMPLE_RATE_HZ) for at in (span.onset_seconds, span.end_seconds))
        there, wanted = whole[start:stop], span.voice.speech()
        gain = float(there @ wanted) / float(wanted @ wanted)
        np.testing.assert_allclose(there, gain * wanted, atol=2e-3)
        before = span.end_seconds
    clips = [span.voice.clip for span in track.spans]
    assert sorted(clips, key=lambda clip: clip.path) == [voice.clip for voice in voices]


def test_the_true_onset_is_where_the_voice_begins(voices: tuple[Voice, ...]) -> None:
    for voice in voices:
        assert voice.onset_sample / SAMPLE_RATE_HZ == pytest.approx(0.7, abs=0.06)


def test_the_order_is_random_and_repeatable(voices: tuple[Voice, ...]) -> None:
    one, same = (np.concatenate(list(Track(voices, seed=1).pieces())) for _ in range(2))
    np.testing.assert_array_equal(one, same)
    assert len({Track(voices, seed=seed).voices for seed in range(8)}) > 1


def test_pauses_are_the_recordings_own_background_and_then_a_quiet_room(tmp_path: Path) -> None:
    clip = Clip(tmp_path / "a.wav", "sad", "x/1", "x")

    def piece_of(samples: NDArray[np.floating]) -> NDArray[np.float32]:
        soundfile.write(clip.path, samples, SAMPLE_RATE_HZ, subtype="FLOAT")
        return next(Track(find_voices([clip], "", Notes(), skip=False), seed=0).pieces())

    samples = np.pad(tiny_corpora.sound("sad", 1)[2000:9000], 16000)
    before = piece_of(samples)[:8000]
    level_dbfs = 10 * np.log10(np.square(before, dtype=np.float64).mean())
    assert level_dbfs == pytest.approx(-75.0, abs=1.0)
    assert np.count_nonzero(before) == 8000, "a room is never digitally silent"
    piece = piece_of(samples + 0.003 * np.random.default_rng(0).standard_normal(samples.size))
    near, far = piece[7200:8000], piece[:4000]  # 50 ms before the onset; over 250 ms before it
    assert near.std() > 5 * far.std()
    assert piece[4800:5200].std() < near.std() / 4, "it is faded, not cut"


def test_each_speaker_gets_one_gain(tmp_path: Path) -> None:
    clips = []
    for name, speaker, gain in zip("abcd", "1112", (1.0, 0.2, 0.1, 0.01), strict=True):
        samples = gain * tiny_corpora.sound("sad", 1)
        soundfile.write(tmp_path / f"{name}.wav", samples, SAMPLE_RATE_HZ, subtype="FLOAT")
        clips.append(Clip(tmp_path / f"{name}.wav", "sad", f"x/{speaker}", "x"))
    track = Track(find_voices(clips, "", Notes(), skip=False), seed=0)
    level_dbfs = {
        voice.clip.path.stem: 10 * np.log10(np.square(piece[8000:-8000]).mean())
        for voice, piece in zip(track.voices, track.pieces(), strict=True)
    }
    wanted = {"a": -26.0 + 20 * np.log10(5), "b": -26.0, "c": -26.0 - 20 * np.log10(2), "d": -26.0}
    assert level_dbfs == pytest.approx(wanted, abs=0.1)


def prediction(
    end: float, label: str | None, state: State = "speech", start: float = 0.0
) -> Prediction:
    return Prediction(0, start, end, state, label, 0.7 if label else 0.0, None, None, False)


def span(label: str, onset: float, end: float) -> Span:
    return Span(
        Voice(Clip(Path(f"{label}.wav"), label, "x/1", "x"), "", True, 0, 1, -26.0), onset, end
    )


def known_stream() -> tuple[measures.Heard, ...]:
    """Three recordings: one found at last, one misheard by what came before, one missed."""
    spans = [span("sad", 1.0, 4.0), span("happy", 5.0, 8.0), span("sad", 9.0, 10.0)]
    return measures.listen_to(
        spans,
        [
            prediction(0.75, "sad"),  # before anyone spoke
            prediction(1.0, None, "silence"),
            prediction(2.25, "happy", "uncertain", 1.0),
            prediction(2.5, "sad", "uncertain", 1.0),
            prediction(2.75, "sad", "speech", 1.0),
            prediction(3.0, "happy", "speech", 1.0),
            prediction(3.25, "sad", "speech", 1.0),
            prediction(5.25, "happy", "speech", 2.25),  # hears the first one still
            prediction(6.25, "happy", "speech", 5.0),
            prediction(9.5, None, "warming_up", 9.0),
        ],
    )


def test_times_of_a_known_stream() -> None:
    first, second, third = known_stream()
    assert first.first_seconds == 1.25
    assert first.first_correct_seconds == 1.5
    assert first.first_sure_correct_seconds == 1.75
    assert first.last_change_seconds == 2.25
    assert first.changes == 3
    assert (
        second.first_seconds == second.first_correct_seconds == second.last_change_seconds == 1.25
    )
    assert (second.mixed, second.changes) == (1, 0)
    assert third.first_seconds is third.first_correct_seconds is None
    assert third.last is None
    at = [first.at(seconds) for seconds in (1.0, 1.25, 1.6, 9.0)]
    assert [p.label if p else None for p in at] == [None, "happy", "sad", "sad"]


def test_figures_of_a_known_stream() -> None:
    heard = known_stream()
    found = measures.times(one.first_correct_seconds for one in heard)
    assert (found.count, found.of) == (2, 3)
    assert found.median == 1.375
    assert found.p90 == pytest.approx(1.475)
    assert measures.times([None]) == measures.Times(0, 1, None, None)
    assert measures.right_share(heard) == pytest.approx(4 / 6)
    assert measures.changes_per_minute(heard, 0.25) == pytest.approx(3 / (6 * 0.25 / 60))
    named = [one.last.label if one.last else None for one in heard]
    recall = measures.recall(["sad", "happy", "sad"], named)
    assert recall.uar == pytest.approx(0.75)
    assert recall.wa == pytest.approx(2 / 3)


def test_each_recording_gets_the_utterance_that_shares_most_with_it() -> None:
    spans = [span("sad", 1.0, 3.0), span("happy", 4.0, 6.0), span("sad", 9.0, 10.0)]

    def said(end: float, start: float, sad: float) -> Prediction:
        shares = {"happy": 1.0 - sad, "sad": sad}
        return replace(prediction(end, "sad", start=start), raw_probabilities=shares)

    stream = [
        said(3.25, 1.0, 0.7),
        prediction(3.5, None, "silence"),
        said(4.5, 3.75, 0.9),  # a cough, then the recording
        said(6.0, 4.6, 0.2),
    ]
    heard = measures.listen_to_utterances(spans, stream, uncertain_below=0.75)
    assert [one.named for one in heard] == ["sad", "happy", None]
    figures = measures.under_prior("even", heard, ("happy", "sad"))
    assert (figures.named.uar, figures.coverage, figures.sure_right_share) == (0.75, 0.5, 1.0)


def test_coverage_and_sure_labels_of_a_known_stream() -> None:
    figures = measures.under_prior("even", with_probabilities(known_stream()), ("happy", "sad"))
    assert figures.prior == "even"
    assert figures.coverage == pytest.approx(4 / 6)
    assert figures.sure_right_share == pytest.approx(3 / 4)
    assert figures.named.uar == pytest.approx(0.75)
    assert figures.confidence is not None
    assert (figures.confidence.at_the_end.count, figures.confidence.throughout.count) == (2, 6)


def with_probabilities(heard: tuple[measures.Heard, ...]) -> list[measures.Heard]:
    shares = {"happy": 0.4, "sad": 0.6}
    return [
        replace(
            one,
            predictions=tuple(
                replace(prediction, probabilities=shares) for prediction in one.predictions
            ),
        )
        for one in heard
    ]


def test_without_any_label_nothing_breaks() -> None:
    heard = measures.listen_to([span("sad", 1.0, 2.0)], [prediction(1.0, None, "silence")])
    assert measures.changes_per_minute(heard, 0.25) == 0.0
    assert measures.right_share(heard) == 0.0
    figures = measures.under_prior("even", heard, ("sad",))
    assert (figures.coverage, figures.sure_right_share, figures.confidence) == (0.0, 0.0, None)


def test_runs_differ_where_state_or_label_does() -> None:
    one = [prediction(1.0, "sad"), prediction(2.0, None, "silence"), prediction(3.0, "sad")]
    surer = replace(one[0], confidence=0.9)
    other = [surer, prediction(2.0, "sad"), prediction(3.0, "happy")]
    assert measures.differing_share(one, one) == 0.0
    assert measures.differing_share(one, other) == pytest.approx(2 / 3)


def test_the_live_engine_is_what_is_measured(voices: tuple[Voice, ...], tiny_model: Path) -> None:
    classifier, track = OnnxClassifier.load(tiny_model), Track(voices, seed=0)
    whole = np.concatenate(list(track.pieces()))
    for gain_db, gain in ((0.0, 1.0), (20.0, 10.0)):
        recognizer = StreamRecognizer(classifier)
        wanted = recognizer.process(np.float32(gain) * whole) + recognizer.flush()
        assert play(classifier, track, gain_db, lambda: None) == (wanted, wanted), "no odds"


def test_known_onsets_give_the_right_times(
    voices: tuple[Voice, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "SOUND_SECONDS", 5.0)
    classifier = OnnxClassifier.load(MODELS / "emotion-light.onnx")
    classifier.card = replace(
        classifier.card, window=replace(classifier.card.window, warm_up_seconds=1.5)
    )
    result = measure_stream(classifier, Track(voices, seed=0), "in words", Notes())
    figures = result.figures
    (accuracy,) = figures.accuracy
    assert figures.recordings == accuracy.named.count == accuracy.offline.count == 4
    assert accuracy.utterance == figures.utterances[0].named
    assert [one.prior for one in figures.utterances] == ["everyday", "even"]
    assert (figures.unnamed, figures.first.count) == (0, 4)
    for one in result.heard:
        first = one.first_seconds
        assert first is not None
        assert 1.4 <= first <= 1.5 + 0.25 + 0.15, "warm-up, the wait for a hop, the gate's onset"
    assert [gain for gain, _ in figures.gains] == [-20.0, 20.0]
    assert max(share for _, share in figures.gains) <= 0.01
    quiet = {one.sound: one for one in figures.false_emotions}
    for name in ("silence", "white noise", "pink noise", "mains hum"):
        assert quiet[name].emotion_seconds == quiet[name].uncertain_seconds == 0.0


def test_what_the_everyday_prior_costs_is_measured(
    voices: tuple[Voice, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "SOUND_SECONDS", 4.0)
    card = tiny_card(prior={"angry": 1000.0, "neutral": 0.001})
    classifier = OnnxClassifier.load(write_tiny_model(tmp_path / "biased.onnx", card))
    angry = [replace(voice, clip=replace(voice.clip, label="angry")) for voice in voices]
    figures = measure_stream(classifier, Track(angry, seed=0), "in words", Notes()).figures
    everyday, even = figures.priors
    assert (everyday.prior, even.prior) == ("everyday", "even")
    assert everyday.named == figures.accuracy[0].named
    assert everyday.confidence == figures.confidence
    assert everyday.named.uar > even.named.uar
    lost = 100 * (even.named.uar - everyday.named.uar)
    assert figures.cost_points == pytest.approx(lost)


def test_sounds_without_speech_are_what_they_are_called() -> None:
    sounds = make_sounds(5.0, seed=0)
    assert not sounds.pop("silence").any()
    for samples in sounds.values():
        assert len(samples) == 5 * SAMPLE_RATE_HZ
        assert np.sqrt(np.square(samples).mean()) == pytest.approx(0.05, rel=1e-3)
    sawtooth = next(samples for name, samples in sounds.items() if name.startswith("sawtooth"))
    envelope = np.abs(sawtooth).reshape(-1, 400).max(axis=1)  # 40 a second
    spectrum = np.abs(np.fft.rfft(envelope - envelope.mean()))
    assert np.fft.rfftfreq(len(envelope), 1 / 40)[spectrum.argmax()] == pytest.approx(4.0)
    pitch = np.abs(np.fft.rfft(sawtooth)).argmax() / 5.0
    assert pitch == pytest.approx(150.0, abs=0.5)


@pytest.mark.integration
def test_the_command_from_outside(
    spoken: Path, tiny_model: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    arguments = ["evaluate", str(tiny_model), "--corpus", str(spoken), "--seed", "4"]
    arguments += ["--speakers", "spoken/ben", "--report-dir", str(tmp_path)]
    command = [sys.executable, "-c", OUTSIDE.format(arguments=arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("the speaker spoken/ben; the model file does not say") == 2
    assert done.stderr.startswith("warning: the model file does not say who was in training")
    for wanted in (
        "stream of 2 recordings",
        "coverage: sure labels %",
        "correct label (wanted 2 and 3)",
        "at -20 dB",
        "of 1 other",
        "everyday, utterances",
    ):
        assert wanted in done.stdout
    data = json.loads((tmp_path / "stream.json").read_text())
    assert data["recordings"] == data["first"]["of"] == 2
    page = (tmp_path / "stream.md").read_text()
    for name in ("stream-timeline.png", "stream-times.png"):
        assert f"]({name})" in page
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert "pink noise of -75 dBFS" in page


def test_who_was_in_training_comes_from_the_keras_file_beside() -> None:
    model = MODELS / "emotion-light.onnx"
    card = OnnxClassifier.load(model).card
    record = record_of(model, card)
    assert record is not None
    known = Clip(Path("a.wav"), "sad", record.training_speakers[0], "x")
    unseen = Clip(Path("b.wav"), "sad", record.test_speakers[0], "x")
    assert leakage(record, [known, unseen]).startswith(f"{known.speaker} were in training")
    assert leakage(record, [unseen]) == ""
    assert record_of(model, replace(card, name="other")) is None
    assert record_of(MODELS / "nothing.onnx", card) is None


def test_mistakes_are_one_line(
    spoken: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given, noisy = (["--corpus", str(spoken), kind] for kind in ("--stream", "--conditions"))
    few = ["--drop", "happy", "--drop", "sad", "--drop", "angry"]
    (tmp_path / "empty").mkdir()
    for arguments, reason in (
        ([str(tmp_path / "a.onnx"), *given], "there is no model"),
        ([str(tiny_model), *given, "--speakers", "spoken/eve"], "no speaker 'spoken/eve'"),
        ([str(tiny_model), *given, "--speakers", "none"], "names no speaker"),
        ([str(tiny_model), "--stream"], "no recordings are named"),
        ([str(tiny_model), "--stream", "--corpus", str(tmp_path / "empty")], "holds nothing"),
        ([str(tiny_model), *given, "--map", "sad=boredom"], "--drop boredom"),
        ([str(tiny_model), *given, "--report-dir", str(spoken / "a")], "cannot be made"),
        ([str(tiny_model), *noisy], "none is left; name some of spoken/anna, spoken/ben"),
        ([str(tiny_model), *noisy, *few], "wanted two or more"),
    ):
        assert cli.main(["evaluate", *arguments]) == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err.startswith("ser-train: error: ")
        assert reason in told.err
        assert told.err.count("\n") == 1
    assert cli.main(["evaluate", str(tiny_model), *given, "--conditions"]) == 2
    assert "not allowed with" in capsys.readouterr().err


@pytest.mark.corpora
@pytest.mark.integration
@pytest.mark.skipif("SER_CORPORA" not in os.environ, reason="SER_CORPORA names no folder")
def test_the_shipped_model_on_a_stream_of_unseen_speakers(monkeypatch: pytest.MonkeyPatch) -> None:
    recordings = Recordings((Path(os.environ["SER_CORPORA"], "emodb"),), dropped=("boredom",))
    classifier = OnnxClassifier.load(MODELS / "emotion-light.onnx")
    clips = [clip for clip in recordings.find() if clip.speaker in ("emodb/15", "emodb/16")]
    track = Track(find_voices(clips[::3], "recordings", Notes(), skip=False), seed=0)
    monkeypatch.setattr(stream, "SOUND_SECONDS", 10.0)
    figures = measure_stream(classifier, track, "in words", Notes()).figures
    assert figures.recordings == len(clips[::3])
    assert figures.accuracy[0].named.wa > figures.accuracy[0].offline.wa - 0.1
    assert figures.first.median is not None
    assert figures.first.median < 2.0
    assert max(share for _, share in figures.gains) <= 0.01
