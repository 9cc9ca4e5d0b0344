"""Bad conditions are what they say, and what they cost is counted."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock, patch

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from helpers import tiny_corpora
from helpers.notes import Notes
from ser_live.model.card import SAMPLE_RATE_HZ
from ser_live.testing import speech_like
from ser_train.data.acoustics import Samples
from ser_train.data.recordings import Recordings
from ser_train.evaluation.clips import Evaluation, find_voices
from ser_train.evaluation.live import conditions, sounds
from ser_train.evaluation.live.conditions import Condition, evaluate_conditions

SPEECH = slice(8000, 56000)


def recording() -> Samples:
    """Three seconds of voice, half a second of near silence on either side."""
    samples = speech_like(4.0)
    samples[: SPEECH.start] *= 1e-3
    samples[SPEECH.stop :] *= 1e-3
    return samples


@pytest.fixture(autouse=True, scope="module")
def short_beds() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conditions, "BED_SECONDS", 20.0)
        yield


def make() -> dict[str, Condition]:
    voices = [speech_like(2.0, seed=seed) for seed in range(11)]
    made = conditions.make_conditions(sounds.babble_bed(voices, seconds=20.0))
    return {condition.name: condition for condition in made}


@pytest.fixture(name="made", scope="module")
def made_conditions(short_beds: None) -> dict[str, Condition]:
    return make()


def power_db(samples: NDArray[np.floating]) -> float:
    return float(10 * np.log10(np.square(samples, dtype=np.float64).mean()))


@pytest.mark.parametrize("name", ["babble", "street", "hum"])
@pytest.mark.parametrize("gain", [0.01, 1.0])
def test_noise_has_the_ratio_that_it_says(
    made: dict[str, Condition], name: str, gain: float
) -> None:
    clean = np.float32(gain) * recording()
    noise = made[name].process(clean, SPEECH, "a.wav") - clean
    ratio_db = power_db(clean[SPEECH]) - power_db(noise[SPEECH])
    assert ratio_db == pytest.approx(10.0, abs=0.01)
    before_db, during_db = power_db(noise[: SPEECH.start]), power_db(noise[SPEECH])
    assert before_db > during_db - 20.0, "the noise is there before the speech as well"


def test_hum_is_at_the_mains_and_its_harmonics() -> None:
    noise = sounds.hum(2 * SAMPLE_RATE_HZ, np.random.default_rng(0))
    power = np.abs(np.fft.rfft(noise)) ** 2
    lines = np.arange(100, 2001, 100)  # bins of half a hertz
    assert power[lines].sum() / power.sum() > 0.9999
    assert power[100] > 0.1 * power.sum()


def test_traffic_is_low_and_cars_pass() -> None:
    street = sounds.street_bed(60.0)
    power = np.abs(np.fft.rfft(street)) ** 2
    below_1_khz = power[: 60 * 1000].sum() / power.sum()
    assert below_1_khz > 0.7
    seconds = street.reshape(60, -1).std(axis=1)
    loud, usual = np.quantile(seconds, 0.95), np.quantile(seconds, 0.3)
    assert loud > 1.5 * usual


def test_babble_is_many_voices_equally_loud() -> None:
    voices = [np.float32(0.1 ** (seed % 3)) * speech_like(1.0, seed=seed) for seed in range(16)]
    bed = sounds.babble_bed(voices, seconds=4.0)
    assert power_db(bed) == pytest.approx(0.0, abs=3.0)
    levels_db = [power_db(part) for part in np.split(bed, 16)]
    assert min(levels_db) > max(levels_db) - 12.0, "babble has no pauses"
    few = sounds.babble_bed(voices[:1], seconds=4.0)
    assert len(few) == 4 * SAMPLE_RATE_HZ


@pytest.mark.parametrize("number", range(3))
def test_the_room_decays_as_it_says(number: int) -> None:
    response = conditions.room_response(number).astype(np.float64)
    energy = np.cumsum(np.square(response)[::-1])[::-1]
    level_db = 10 * np.log10(energy / energy[0])
    start, stop = (int(np.flatnonzero(level_db < limit)[0]) for limit in (-10.0, -30.0))
    rt60_seconds = 3.0 * (stop - start) / SAMPLE_RATE_HZ
    assert rt60_seconds == pytest.approx(conditions.RT60_SECONDS, rel=0.05)
    ratio_db = 10 * np.log10(response[0] ** 2 / np.square(response[1:]).sum())
    assert ratio_db == pytest.approx(conditions.DIRECT_TO_REVERBERANT_DB, abs=0.01)
    assert int(np.abs(response).argmax()) == 0, "the direct sound is not delayed"


def test_the_telephone_lets_nothing_through_outside_its_band() -> None:
    white = np.random.default_rng(0).standard_normal(4 * SAMPLE_RATE_HZ).astype(np.float32)
    heard = conditions.over_telephone(white, slice(0, len(white)))
    frequencies_hz = np.fft.rfftfreq(len(white), 1 / SAMPLE_RATE_HZ)
    window = np.hanning(len(white))  # the ends would smear over all frequencies
    power = np.abs(np.fft.rfft(window * heard)) ** 2
    outside = (frequencies_hz < 200.0) | (frequencies_hz > 4000.0)
    assert 10 * np.log10(power[outside].sum() / power.sum()) < -60.0
    inside = (frequencies_hz > 500.0) & (frequencies_hz < 3000.0)
    passed = power[inside].sum() / (np.abs(np.fft.rfft(window * white)) ** 2)[inside].sum()
    assert passed == pytest.approx(1.0, abs=0.05), "the level is given back"
    assert len(heard) == len(white)


def test_a_quiet_caller_is_heard_as_a_loud_one() -> None:
    clean = recording()
    loud = conditions.over_telephone(clean, SPEECH)
    quiet = conditions.over_telephone(np.float32(0.01) * clean, SPEECH)
    np.testing.assert_allclose(100 * quiet, loud, atol=0.01)


@pytest.mark.parametrize("gain", [0.001, 1.0, 30.0])
@pytest.mark.parametrize("length", [1, 400, 64000])
def test_an_mp3_file_keeps_place_and_level(length: int, gain: float) -> None:
    clean = np.float32(gain) * recording()[:length]
    heard = conditions.as_mp3(clean)
    assert heard.shape == clean.shape
    assert heard.dtype == np.float32
    if length == 64000:
        shifts = [float(clean[1000:-1000] @ heard[1000 + d : d - 1000]) for d in range(-999, 999)]
        assert int(np.argmax(shifts)) == 999, "nothing is delayed"
        assert power_db(clean - heard) < power_db(clean) - 10.0
        assert not np.array_equal(clean, heard)


def test_an_mp3_file_of_32_kbits_is_small_and_dull() -> None:
    white = np.random.default_rng(0).uniform(-0.5, 0.5, 4 * SAMPLE_RATE_HZ).astype(np.float32)
    with patch.object(soundfile, "write", wraps=soundfile.write) as write:
        heard = conditions.as_mp3(white)
    assert 2 * write.call_args.args[0].getbuffer().nbytes == pytest.approx(32e3, rel=0.05)
    assert power_db(white - heard) > power_db(white) - 20.0, "noise does not fit into 32 kbit/s"


def test_a_recording_has_the_same_conditions_every_time(made: dict[str, Condition]) -> None:
    clean = recording()
    for condition in make().values():
        one = made[condition.name].process(clean, SPEECH, "a.wav")
        np.testing.assert_array_equal(one, condition.process(clean, SPEECH, "a.wav"))
        assert one.shape == clean.shape
        assert one.dtype == np.float32
    for name in ("babble", "street", "hum"):
        a, b = (made[name].process(clean, SPEECH, which) for which in ("a.wav", "b.wav"))
        assert power_db(a - b) > power_db(a - clean) - 6.0, "each recording has its own noise"


@pytest.fixture(name="corpus", scope="module")
def miniature_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ravdess")
    return tiny_corpora.write_ravdess(folder, [1, 2, 3], ["happy", "sad", "angry"], takes=2)


def test_every_condition_is_counted(corpus: Path, tiny_model: Path, tmp_path: Path) -> None:
    from ser_train.commands.evaluate import evaluate_live  # noqa: PLC0415 - Matplotlib takes a second

    one = Evaluation(tiny_model, Recordings((corpus,)), ("ravdess/01",), report_folder=tmp_path)
    lines = evaluate_live("conditions", one, Notes())
    assert lines[0].startswith("the speaker ravdess/01; the model file does not say who was in")
    assert "babble of 2 other speakers" in lines[0]
    names = [line.split()[0] for line in lines[2:]]
    wanted = ["condition", "clean", "babble", "street", "hum", "room", "telephone", "mp3"]
    assert names == wanted
    data = json.loads((tmp_path / "conditions.json").read_text())
    clean = data["measured"][0]["scores"]
    for row in data["measured"]:
        assert row["scores"]["count"] == 6
        assert row["lost_points"] == pytest.approx(100 * (clean["uar"] - row["scores"]["uar"]))
    page = (tmp_path / "conditions.md").read_text()
    assert page.count("\n| ") == len(wanted) + 1
    assert (tmp_path / "conditions.png").read_bytes().startswith(b"\x89PNG")


def test_the_babble_is_never_of_a_measured_speaker(
    corpus: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    voices = Mock(wraps=find_voices)
    monkeypatch.setattr(conditions, "find_voices", voices)
    job = Evaluation(tiny_model, Recordings((corpus,)), ("ravdess/02",))
    evaluate_conditions(job, Notes())
    (babble,) = [clips for (clips, what, *_), _ in voices.call_args_list if what == "babble"]
    assert {clip.speaker for clip in babble} == {"ravdess/01", "ravdess/03"}


@pytest.mark.corpora
@pytest.mark.integration
@pytest.mark.skipif("SER_CORPORA" not in os.environ, reason="SER_CORPORA names no folder")
def test_the_shipped_model_survives_every_condition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "_MOST_TALKERS", 60)
    corpora = Path(os.environ["SER_CORPORA"])
    recordings = Recordings((corpora / "emodb",), dropped=("boredom",))
    model = Path(__file__).parents[2] / "models" / "emotion-light.onnx"
    job = Evaluation(model, recordings, ("emodb/15", "emodb/16"))
    measured = evaluate_conditions(job, Notes()).measured
    uar = {one.name: 100 * one.scores.uar for one in measured}
    assert uar["clean"] > 50.0
    assert min(uar.values()) > 100 / 6, "better than chance everywhere"
