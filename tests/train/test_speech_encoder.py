"""The pretrained encoder: its arithmetic against plain numpy, its laws, its file."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_train.models.keras_file import require_one_start
from ser_train.models.registry import NETWORKS
from ser_train.models.whisper_file import read_encoder

UNITS, HEADS, INNER, BLOCKS = 8, 2, 12, 2
ENCODER = Path(os.environ.get("SER_ENCODER", "nowhere"))
Array = NDArray[np.float64]


@pytest.fixture(scope="module", name="encoder")
def tiny_encoder() -> Any:
    """Return an encoder of small sizes with random weights."""
    from ser_train.layers import SpeechEncoder  # noqa: PLC0415 - Keras takes seconds

    layer = SpeechEncoder(blocks=BLOCKS, units=UNITS, heads=HEADS, inner_units=INNER)
    layer.build((None, None, 201))
    random = np.random.default_rng(0)
    layer.set_weights([random.normal(0.0, 0.4, w.shape) for w in layer.get_weights()])
    return layer


@pytest.fixture(scope="module", name="power")
def noisy_power() -> NDArray[np.float32]:
    random = np.random.default_rng(1)
    levels = 10.0 ** random.uniform(-6, 2, (3, 61, 201))
    return (levels * random.exponential(size=levels.shape)).astype(np.float32)


def run(encoder: Any, power: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(encoder(power))


def gelu(x: Array) -> Array:
    from scipy.special import erf  # noqa: PLC0415 - takes a second

    return np.asarray(0.5 * x * (1.0 + erf(x / np.sqrt(2.0))))


def normalized(x: Array, gamma: Array, beta: Array) -> Array:
    deviation = np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
    return np.asarray((x - x.mean(axis=1, keepdims=True)) / deviation * gamma + beta)


def convolved(x: Array, kernel: Array, bias: Array, stride: int) -> Array:
    """Convolve (time, channels) with three taps, padded by one on either side."""
    padded = np.pad(x, ((1, 1), (0, 0)))
    taps = kernel.reshape(3, x.shape[1], -1)
    steps = range(0, len(x), stride)
    return np.array([sum(padded[t + k] @ taps[k] for k in range(3)) for t in steps]) + bias


def attended(x: Array, kernel: Array, bias: Array) -> Array:
    query, key, value = np.split(x @ kernel + bias, 3, axis=1)
    heads = []
    for own in np.split(np.arange(UNITS), HEADS):
        scores = query[:, own] @ key[:, own].T / np.sqrt(UNITS // HEADS)
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        heads.append(shares / shares.sum(axis=1, keepdims=True) @ value[:, own])
    return np.concatenate(heads, axis=1)


def reference(power: NDArray[np.float32], weights: list[NDArray[np.float32]]) -> Array:
    """Compute the statistics of one window as the publications of Whisper describe it."""
    from librosa.filters import mel  # noqa: PLC0415 - takes a second

    own = iter(np.asarray(w, np.float64) for w in weights)
    positions = next(own)
    bank = mel(sr=16000, n_fft=400, n_mels=80)
    levels = np.log10(np.maximum(bank @ (power.T * (1.5 / power.mean())), 1e-10)).T
    x = (np.maximum(levels, levels.max() - 8.0) + 4.0) / 4.0
    for stride in (1, 2):
        x = gelu(convolved(x, next(own), next(own), stride))
    x = x + positions[: len(x)]
    pooled = []
    for _ in range(BLOCKS):
        y = attended(normalized(x, next(own), next(own)), next(own), next(own))
        x = x + y @ next(own) + next(own)
        y = gelu(normalized(x, next(own), next(own)) @ next(own) + next(own))
        x = x + y @ next(own) + next(own)
        pooled += [x.mean(axis=0), np.sqrt(x.var(axis=0) + 1e-5)]
    return np.concatenate(pooled)


def test_the_layer_computes_what_whisper_does(encoder: Any, power: NDArray[np.float32]) -> None:
    expected = reference(power[0], encoder.get_weights())
    np.testing.assert_allclose(run(encoder, power)[0], expected, rtol=1e-3, atol=1e-4)


def test_gain_changes_nothing(encoder: Any, power: NDArray[np.float32]) -> None:
    once = run(encoder, power)
    np.testing.assert_array_equal(run(encoder, power * np.float32(2.0**-20)), once)
    np.testing.assert_allclose(run(encoder, power * np.float32(100.0)), once, atol=1e-4)


def test_more_padding_changes_nothing(encoder: Any, power: NDArray[np.float32]) -> None:
    # The first frames of silence are seen, by the convolutions at the end of the sound.
    padded = np.pad(power, ((0, 0), (0, 20), (0, 0)))
    longer = np.pad(power, ((0, 0), (0, 60), (0, 0)))
    np.testing.assert_allclose(run(encoder, longer), run(encoder, padded), atol=1e-4)


def test_digital_silence_is_finite(encoder: Any) -> None:
    assert np.isfinite(run(encoder, np.zeros((1, 50, 201), np.float32))).all()


def write(path: Path, tensors: dict[str, NDArray[Any]]) -> Path:
    from safetensors.numpy import save_file  # noqa: PLC0415 - an extra

    save_file(tensors, path)
    return path


def test_other_files_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.safetensors"
    text.write_text("no tensors")
    with pytest.raises(SerError, match=r"no encoder can be read .*whisper-tiny\.en"):
        read_encoder(text)
    with pytest.raises(SerError, match="no encoder can be read"):
        read_encoder(tmp_path / "missing.safetensors")
    path = write(tmp_path / "part.safetensors", {"other": np.zeros(3, np.float16)})
    with pytest.raises(SerError, match=r"can be read .*model\.encoder\.conv1\.weight"):
        read_encoder(path)
    base = {"model.encoder.conv1.weight": np.zeros((512, 80, 3), np.float16)}
    with pytest.raises(SerError, match=r"\(512, 80, 3\), wanted \(384, 80, 3\)"):
        read_encoder(write(tmp_path / "base.safetensors", base))


def test_the_network_asks_for_its_encoder(tmp_path: Path) -> None:
    with pytest.raises(SerError, match=r"emotion-whisper begins with .* --encoder"):
        NETWORKS["emotion-whisper"].with_encoder(None)
    with pytest.raises(SerError, match=r"emotion-tcn has no encoder .* --encoder"):
        NETWORKS["emotion-tcn"].with_encoder(tmp_path)
    with pytest.raises(SerError, match="--encoder goes with --network"):
        require_one_start("", tmp_path / "mine.keras", tmp_path)


@pytest.mark.skipif(not ENCODER.is_file(), reason="SER_ENCODER names no file")
@pytest.mark.integration  # seconds of arithmetic
def test_the_published_weights_are_tried_once_and_no_others_taken(tmp_path: Path) -> None:
    from safetensors.numpy import load_file  # noqa: PLC0415 - an extra

    from ser_train.layers import SpeechEncoder  # noqa: PLC0415 - Keras takes seconds

    class Counting(SpeechEncoder):
        runs = 0

        def call(self, *arguments: Any, **options: Any) -> Any:
            Counting.runs += 1
            return super().call(*arguments, **options)

    file, layer = read_encoder(ENCODER), Counting()
    layer.build((None, None, 201))
    assert (file.provenance.name, file.provenance.licence) == ("openai/whisper-tiny.en", "MIT")
    file.fill(layer)
    weights = layer.get_weights()
    layer.set_weights([np.zeros_like(w) for w in weights])
    file.fill(layer)  # as the next fold does
    assert Counting.runs == 1
    assert all(map(np.array_equal, layer.get_weights(), weights))
    others = load_file(ENCODER)
    others["model.encoder.layers.1.fc1.bias"] += others["model.encoder.conv1.bias"].dtype.type(0.1)
    with pytest.raises(SerError, match=r"not the encoder of openai/whisper-tiny\.en"):
        read_encoder(write(tmp_path / "others.safetensors", others)).fill(layer)
