"""Recognition of samples that were declared in a wrong format."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Of one minus the correlation of neighbours: a wrong format makes speech as rough as noise (1),
# the right one is smoother by far. Tones, which alias, are rougher or have few values.
_ROUGH, _ROUGHEST = 0.6, 1.2
_SMOOTHER = 0.2
_FEWEST_VALUES = 64
# Standard deviation of compressed bytes, taken for int16, and the correlation of neighbours.
_EVEN, _EVENLY = 65536 / 12**0.5, 1500.0
_WHITE, _LAGS = 0.15, 32


def likely_format(samples: NDArray[Any], channels: int, start: int) -> str:
    """Return what interleaved samples look like other than declared, and what to do; or nothing.

    Only what no speech, noise or music can look like is told, so faint samples of another format
    may pass.

    Parameters
    ----------
    samples : ndarray, shape (n,), int16 or float
        A part of a second, or more.
    channels : int
        As declared.
    start : int
        Samples of the stream before these: wider ones begin at a multiple of their width.
    """
    if samples.dtype.kind == "f":
        # Faint integers; louder ones are refused, for they would be huge as floats.
        is_tiny = (samples != 0) & (np.abs(samples) < 1e-30)
        told = "the samples look like s16le, declared as f32le; declare what they are"
        return told if np.mean(is_tiny) > 0.2 else ""
    samples = samples[-start % 6 :]
    samples = samples[: len(samples) // 6 * 6]
    if len(np.unique(samples)) < _FEWEST_VALUES:
        return ""
    data = samples.astype("<i2", copy=False).view(np.uint8)
    words, threes = data.view("<i2").reshape(-1, 2), data.reshape(-1, 3)
    if channels == 1 and _come_twice(samples):
        return "every sample comes twice; declare two channels if there are two"
    # The part that holds the signal, and the finer one, which does not follow it.
    parts: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {
        "s16be": (data.view(">i2"), data[1::2]),
        "s24le": (np.ascontiguousarray(threes[:, 1:]).view("<i2")[:, 0], threes[:, 0]),
        "s32le": (words[:, 1], words[:, 0]),
    }
    rough = _roughness(samples, channels)
    found = "f32le" if _are_floats(data.view("<f4")) else ""
    for name, (coarse, fine) in parts.items() if _ROUGH <= rough <= _ROUGHEST else ():
        if (
            _roughness(coarse, channels) <= _SMOOTHER * rough
            and _roughness(fine, channels) >= _ROUGH
        ):
            found = found or name
    if np.mean(np.abs(data - 128.0) < 64.0) > 0.9:
        found = "u8"
    # All values are alike often, as only in noise at full scale.
    if not found and abs(samples.std() - _EVEN) <= _EVENLY and _is_white(samples):
        return (
            "the samples look like compressed audio; pipe it from its beginning, or convert it, as "
            "in 'ffmpeg -i FILE -f wav - | ser-live --stdin'"
        )
    return found and f"the samples look like {found}, declared as s16le; declare what they are"


def _are_floats(values: NDArray[np.float32]) -> bool:
    """Return whether all are of a usual size, and of both signs: the bits of integers are not."""
    with np.errstate(invalid="ignore"):
        is_usual = (np.abs(values) >= 1e-9) & (np.abs(values) <= 4.0)
        positive, negative = np.mean(is_usual & (values > 0)), np.mean(is_usual & (values < 0))
    return bool(
        positive + negative + np.mean(values == 0) >= 0.99 and min(positive, negative) > 0.02
    )


def _is_white(samples: NDArray[np.int16]) -> bool:
    values = samples / samples.std()
    products = [np.mean(values[lag:] * values[:-lag]) for lag in range(1, _LAGS)]
    return bool(np.abs(products).max() < _WHITE)


def _come_twice(samples: NDArray[np.int16]) -> bool:
    is_same = samples[1:] == samples[:-1]
    return bool(is_same[::2].mean() > 0.999 and is_same[1::2].mean() < 0.9)


def _roughness(samples: NDArray[Any], channels: int) -> float:
    values = samples[: len(samples) // channels * channels].astype(np.float64)
    steps = values[channels:] - values[:-channels]
    return float(np.square(steps).mean() / (2.0 * values.var())) if values.var() else 1.0
