"""The published weights of the encoder of Whisper tiny.en, read and recognised.

Radford, Kim, Xu, Brockman, McLeavey, Sutskever: Robust speech recognition via large-scale weak
supervision. 2022. The weights are under the MIT licence.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_live.model.card import Encoder
from ser_live.text import sanitize
from ser_train.models.keras_file import fingerprint

_NAME, _LICENCE = "openai/whisper-tiny.en", "MIT"
_PREFIX = "model.encoder."
_UNITS, _MELS, _BLOCKS = 384, 80, 3
_LATER = ("final_layer_norm", "fc1", "fc2")
"""Parts of a block behind its attention."""
_GOLDEN = (0.21432, 0.1434, 0.12514, 0.89673, 0.35343, 0.14307, 0.1647, 0.30306)
"""Every 288th statistic of `_golden_power`, computed once with the encoder of the package
transformers (its own attention, convolutions and normalisation) behind librosa's mel bank."""
_TOLERANCE = 2e-3


class EncoderFile:
    """An encoder file, whose tensors are read when a network first needs them.

    Parameters
    ----------
    path : Path
    digest : str
        SHA-256 of the file.
    """

    def __init__(self, path: Path, digest: str) -> None:
        self.provenance = Encoder(_NAME, digest, _LICENCE)
        self._path = path
        self._weights: list[NDArray[np.float32]] = []

    def fill(self, layer: Any) -> None:
        """Give a `ser_train.layers.SpeechEncoder` these weights; the first time try them.

        Raises
        ------
        SerError
            If a tensor is missing or of another shape, or a known sound does not give the
            statistics of the published encoder.
        """
        if self._weights:  # tried for the front end, or for an earlier fold
            layer.set_weights(self._weights)
            return
        try:
            weights = _weights(self._path)
            layer.set_weights(weights)
        except ValueError as error:
            raise SerError(
                f"{sanitize(self._path)}: not the encoder of {_NAME} ({error})"
            ) from error
        got = np.asarray(layer(_golden_power()[np.newaxis]))[0, :: 2 * _UNITS * _BLOCKS // 8]
        worst = float(np.abs(got - _GOLDEN).max())
        if not worst <= _TOLERANCE:
            raise SerError(
                f"{sanitize(self._path)}: not the encoder of {_NAME}: a known sound gives "
                f"statistics that are off by {worst:.2g}, wanted at most {_TOLERANCE:g}"
            )
        self._weights = weights


def read_encoder(path: Path) -> EncoderFile:
    """Look at a ``.safetensors`` file with the encoder, and perhaps all else of the model.

    Raises
    ------
    SerError
        If it is missing or no such file, or holds another encoder.
    """
    with _opened(path) as file:
        shape = tuple(file.get_slice(f"{_PREFIX}conv1.weight").get_shape())
    if shape != (_UNITS, _MELS, 3):
        raise SerError(
            f"{sanitize(path)}: {_PREFIX}conv1.weight has the shape {shape}, wanted "
            f"{(_UNITS, _MELS, 3)} as in {_NAME}"
        )
    return EncoderFile(path, fingerprint(path))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file of tensors; whatever is wrong with it is one line."""
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - an extra

    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise SerError(
            f"{sanitize(path)}: no encoder can be read ({sanitize(error)}), wanted the "
            f"model.safetensors of {_NAME}"
        ) from error


def _weights(path: Path) -> list[NDArray[np.float32]]:
    """Return the weights in the order of `SpeechEncoder`: the positions, then layer by layer."""
    with _opened(path) as file:

        def get(name: str) -> NDArray[np.float32]:
            tensor: NDArray[np.float32] = file.get_tensor(_PREFIX + name).astype(np.float32)
            return tensor

        weights = [get("embed_positions.weight")]
        for number in (1, 2):  # (units, channels, taps) become rows of taps
            kernel = get(f"conv{number}.weight").transpose(2, 1, 0).reshape(-1, _UNITS)
            weights += [kernel, get(f"conv{number}.bias")]
        for layer in (f"layers.{block}" for block in range(_BLOCKS)):
            attention, no_bias = f"{layer}.self_attn", np.zeros(_UNITS, np.float32)
            query, value = get(f"{attention}.q_proj.bias"), get(f"{attention}.v_proj.bias")
            weights += [get(f"{attention}_layer_norm.{part}") for part in ("weight", "bias")]
            together = [get(f"{attention}.{part}_proj.weight").T for part in "qkv"]
            weights.append(np.concatenate(together, axis=1))
            weights.append(np.concatenate([query, no_bias, value]))  # keys have none
            for part in (f"{attention}.out_proj", *(f"{layer}.{n}" for n in _LATER)):
                weights += [get(f"{part}.weight").T, get(f"{part}.bias")]
    return weights


def _golden_power() -> NDArray[np.float32]:
    """Make a power spectrum with harmonics that come and go."""
    frame, bin_ = np.arange(298)[:, np.newaxis], np.arange(201)[np.newaxis]
    power = 10.0 ** (3.0 * np.sin(0.07 * frame * (1.0 + bin_ / 200.0)) - bin_ / 50.0)
    return np.asarray(power, np.float32)
