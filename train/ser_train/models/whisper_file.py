"""The published weights of the encoder of Whisper tiny.en, read and recognised.

Radford, Kim, Xu, Brockman, McLeavey, Sutskever: Robust speech recognition via large-scale weak
supervision. 2022. The weights are under the MIT licence.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_live.model.card import Encoder
from ser_live.text import quoted, sanitize

_NAME, _LICENCE = "openai/whisper-tiny.en", "MIT"
_PREFIX = "model.encoder."
_UNITS, _INNER_UNITS, _MELS, _POSITIONS = 384, 1536, 80, 1500
_BLOCKS = 3
_GOLDEN = (0.21432, 0.1434, 0.12514, 0.89673, 0.35343, 0.14307, 0.1647, 0.30306)
"""Every 288th statistic of `_golden_power`, computed once with the encoder of the package
transformers (its own attention, convolutions and normalisation) behind librosa's mel bank."""
_TOLERANCE = 2e-3


class EncoderFile:
    """An encoder file, checked by the shapes of its tensors, which are read when they are needed.

    Parameters
    ----------
    path : Path
    digest : str
        SHA-256 of the file.
    """

    def __init__(self, path: Path, digest: str) -> None:
        self.provenance = Encoder(_NAME, digest, _LICENCE)
        self._path = path
        self._tried: list[NDArray[np.float32]] = []

    def fill(self, layer: Any) -> None:
        """Give a `ser_train.layers.SpeechEncoder` these weights; the first time try them.

        Raises
        ------
        SerError
            If a known sound does not give the statistics of the published encoder.
        """
        if self._tried:  # by the front end, or by an earlier fold
            layer.set_weights(self._tried)
            return
        weights = _weights(_tensors(self._path))
        layer.set_weights(weights)
        got = np.asarray(layer(_golden_power()[np.newaxis]))[0, :: 2 * _UNITS * _BLOCKS // 8]
        worst = float(np.abs(got - _GOLDEN).max())
        if not worst <= _TOLERANCE:
            raise SerError(
                f"{sanitize(self._path)}: not the encoder of {_NAME}: a known sound gives "
                f"statistics that are off by {worst:.2g}, wanted at most {_TOLERANCE:g}"
            )
        self._tried = weights


def read_encoder(path: Path) -> EncoderFile:
    """Look at a ``.safetensors`` file with the encoder, and perhaps all else of the model.

    Raises
    ------
    SerError
        If it is missing or no such file, or lacks a tensor, or has one of another shape.
    """
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - an extra

    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        with safe_open(path, framework="numpy") as file:
            there = set(file.keys())
            for name, shape in _shapes().items():
                if _PREFIX + name not in there:
                    raise SerError(f"no tensor {_PREFIX + name}, wanted {_NAME}")
                got = file.get_slice(_PREFIX + name).get_shape()
                if tuple(got) != shape:
                    raise SerError(
                        f"{_PREFIX + name} has the shape {tuple(got)}, wanted {shape} as in {_NAME}"
                    )
    except (OSError, SafetensorError) as error:
        raise SerError(
            f"{sanitize(path)}: no encoder can be read ({quoted(str(error))}), wanted the "
            f"model.safetensors of {_NAME}"
        ) from error
    except SerError as error:
        raise SerError(f"{sanitize(path)}: {error}") from error
    return EncoderFile(path, digest)


def _tensors(path: Path) -> dict[str, NDArray[np.float32]]:
    from safetensors import safe_open  # noqa: PLC0415 - an extra

    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(_PREFIX + name).astype(np.float32) for name in _shapes()}


def _shapes() -> dict[str, tuple[int, ...]]:
    """Return names and shapes of the tensors that are used, without the prefix."""
    shapes: dict[str, tuple[int, ...]] = {
        "conv1.weight": (_UNITS, _MELS, 3),
        "conv2.weight": (_UNITS, _UNITS, 3),
        "embed_positions.weight": (_POSITIONS, _UNITS),
    }
    shapes |= {f"conv{number}.bias": (_UNITS,) for number in (1, 2)}
    for block in range(_BLOCKS):
        own: dict[str, tuple[int, ...]] = {
            "fc1.weight": (_INNER_UNITS, _UNITS),
            "fc1.bias": (_INNER_UNITS,),
            "fc2.weight": (_UNITS, _INNER_UNITS),
            "fc2.bias": (_UNITS,),
        }
        for norm in ("self_attn_layer_norm", "final_layer_norm"):
            own |= {f"{norm}.weight": (_UNITS,), f"{norm}.bias": (_UNITS,)}
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            own[f"self_attn.{part}.weight"] = (_UNITS, _UNITS)
            if part != "k_proj":
                own[f"self_attn.{part}.bias"] = (_UNITS,)
        shapes |= {f"layers.{block}.{name}": shape for name, shape in own.items()}
    return shapes


def _weights(tensors: dict[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Return the weights in the order of `SpeechEncoder`: the positions, then layer by layer."""
    weights = [tensors["embed_positions.weight"]]
    for number in (1, 2):  # (units, channels, taps) become rows of taps
        kernel = tensors[f"conv{number}.weight"].transpose(2, 1, 0).reshape(-1, _UNITS)
        weights += [kernel, tensors[f"conv{number}.bias"]]
    for block in range(_BLOCKS):

        def get(name: str, block: int = block) -> NDArray[np.float32]:
            return tensors[f"layers.{block}.{name}"].T

        no_bias = np.zeros(_UNITS, np.float32)  # keys have none
        query, value = get("self_attn.q_proj.bias"), get("self_attn.v_proj.bias")
        weights += [get(f"self_attn_layer_norm.{part}") for part in ("weight", "bias")]
        together = [get(f"self_attn.{part}_proj.weight") for part in "qkv"]
        weights += [np.concatenate(together, axis=1), np.concatenate([query, no_bias, value])]
        for layer in ("self_attn.out_proj", "final_layer_norm", "fc1", "fc2"):
            weights += [get(f"{layer}.{part}") for part in ("weight", "bias")]
    return weights


def _golden_power() -> NDArray[np.float32]:
    """Make a power spectrum with harmonics that come and go."""
    frame, bin_ = np.arange(298)[:, np.newaxis], np.arange(201)[np.newaxis]
    power = 10.0 ** (3.0 * np.sin(0.07 * frame * (1.0 + bin_ / 200.0)) - bin_ / 50.0)
    return np.asarray(power, np.float32)
