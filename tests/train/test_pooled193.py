import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

import ser_train
from ser_live.engine.spectrum import PowerSpectrum
from ser_live.errors import SerError
from ser_live.testing import speech_like
from ser_train.audio import read_audio
from ser_train.corpora import find_clips
from ser_train.models.registry import NETWORKS

if TYPE_CHECKING:  # Keras takes seconds
    from ser_train.layers import Pooled193

Samples = NDArray[np.float32]

RATE_HZ = 16000
SPECTRUM = NETWORKS["issa-ravdess"].spectrum
BINS = SPECTRUM.bins


@pytest.fixture(scope="module")
def layer() -> "Pooled193":
    from ser_train.layers import Pooled193  # noqa: PLC0415

    return Pooled193()


def spectrum_of(samples: Samples) -> Samples:
    return PowerSpectrum(SPECTRUM).process(samples)


def librosa_features(power: Samples) -> dict[str, Samples]:
    """Return the families as librosa computes them from the same frames."""
    import librosa  # noqa: PLC0415

    feature, by_bin = librosa.feature, power.T
    mel = feature.melspectrogram(S=by_bin, sr=RATE_HZ)
    chroma = feature.chroma_stft(S=by_bin, sr=RATE_HZ, tuning=0.0)
    return {
        "mfcc": feature.mfcc(S=librosa.power_to_db(mel), n_mfcc=40).mean(axis=1),
        "chroma": chroma.mean(axis=1),
        "mel": mel.mean(axis=1),
        "contrast": feature.spectral_contrast(S=np.sqrt(by_bin), sr=RATE_HZ).mean(axis=1),
        "tonnetz": feature.tonnetz(chroma=chroma, sr=RATE_HZ).mean(axis=1),
    }


def check_against_librosa(layer: "Pooled193", power: Samples) -> None:
    """Compare per family the worst difference with the family's largest magnitude."""
    from ser_train.layers.pooled193 import FAMILIES  # noqa: PLC0415

    got = np.asarray(layer(power[None]))[0, :, 0]
    for family, wanted in librosa_features(power).items():
        most = 1e-4 * np.abs(wanted).max()
        np.testing.assert_allclose(got[FAMILIES[family]], wanted, rtol=0, atol=most, err_msg=family)


# The comparisons with librosa are left out by default: it compiles code for up to a minute.


@pytest.mark.integration
@pytest.mark.parametrize("fft_samples", [512, 2048])
def test_the_chroma_bank_has_the_bits_of_librosa(layer: "Pooled193", fft_samples: int) -> None:
    from librosa.filters import chroma  # noqa: PLC0415

    wanted = chroma(sr=RATE_HZ, n_fft=fft_samples, tuning=0.0)
    other = type(layer)()
    other.build((None, None, fft_samples // 2 + 1))
    np.testing.assert_array_equal(other._banks[-12:], wanted)


@pytest.mark.integration
@pytest.mark.parametrize(("seconds", "silent"), [(0.13, 0.0), (0.5, 0.0), (3.0, 0.0), (1.0, 0.5)])
def test_every_family_agrees_with_librosa_on_a_voice(
    layer: "Pooled193", seconds: float, silent: float
) -> None:
    """Also beside digital silence."""
    samples = speech_like(seconds)
    samples[: round(silent * RATE_HZ)] = 0
    check_against_librosa(layer, spectrum_of(samples))


@pytest.mark.integration
@pytest.mark.corpora
def test_every_family_agrees_with_librosa_on_speech(layer: "Pooled193") -> None:
    if "SER_CORPORA" not in os.environ:
        pytest.skip("SER_CORPORA is not set")
    for clip in find_clips(Path(os.environ["SER_CORPORA"], "ravdess"))[::144]:
        check_against_librosa(layer, spectrum_of(read_audio(clip.path)))


def test_silence_is_finite(layer: "Pooled193") -> None:
    for frames in (1, 40):
        assert np.isfinite(np.asarray(layer(np.zeros((2, frames, BINS), np.float32)))).all()


def test_a_batch_gives_what_single_clips_give(layer: "Pooled193") -> None:
    power = np.stack([spectrum_of(speech_like(1.0, seed=seed)) for seed in range(3)])
    single = np.concatenate([np.asarray(layer(p[None])) for p in power])
    np.testing.assert_allclose(np.asarray(layer(power)), single, rtol=1e-5, atol=1e-6)


def test_layer_survives_its_config(layer: "Pooled193") -> None:
    other = type(layer)(sample_rate_hz=8000, mel_in_decibels=True, name="frontend")
    again = type(layer).from_config(other.get_config())
    assert (again.sample_rate_hz, again.mel_in_decibels, again.name) == (8000, True, "frontend")


@pytest.mark.integration
def test_mel_in_decibels_changes_the_mel_family_alone(layer: "Pooled193") -> None:
    from ser_train.layers.pooled193 import FAMILIES, Pooled193  # noqa: PLC0415

    power = spectrum_of(speech_like(1.0))[None]
    wanted = np.array(layer(power))[0, :, 0]
    mel = FAMILIES["mel"]
    wanted[mel] = 10 * np.log10(wanted[mel])
    got = np.asarray(Pooled193(mel_in_decibels=True)(power))[0, :, 0]
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


@pytest.mark.parametrize(("seconds", "rate_hz"), [(0.01, 8000), (0.05, 44100), (1.0, 48000)])
def test_pooled193_reads_any_rate_and_length_without_warnings(
    tmp_path: Path, seconds: float, rate_hz: int
) -> None:
    path = tmp_path / "clip.wav"
    samples = speech_like(seconds)[:, None].repeat(2, axis=1)
    soundfile.write(path, samples, rate_hz)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        features = ser_train.pooled193(path)
    assert features.shape == (193, 1)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()


def test_pooled193_at_16_khz_is_the_layer_on_the_whole_clip(
    tmp_path: Path, layer: "Pooled193"
) -> None:
    path = tmp_path / "clip.wav"
    samples = speech_like(1.0)
    soundfile.write(path, samples, RATE_HZ, subtype="FLOAT")
    wanted = np.asarray(layer(spectrum_of(samples)[None]))[0]
    np.testing.assert_array_equal(ser_train.pooled193(str(path)), wanted)


def test_pooled193_names_a_bad_file(tmp_path: Path) -> None:
    with pytest.raises(SerError, match=r"missing\.wav: cannot read it"):
        ser_train.pooled193(tmp_path / "missing.wav")
