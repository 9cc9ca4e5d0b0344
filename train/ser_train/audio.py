"""An audio file to the samples that everything works on."""

from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_live.model.card import SAMPLE_RATE_HZ


def read_audio(path: Path) -> NDArray[np.float32]:
    """Read a whole file as mono at 16 kHz.

    Parameters
    ----------
    path : Path
        Any format that libsndfile reads.

    Returns
    -------
    ndarray, shape (n,), float32
        The mean of the channels, resampled in one go.

    Raises
    ------
    SerError
        If the file is missing, unreadable, empty or holds NaN or infinity.
    """
    if not path.is_file():
        raise SerError(f"{path}: no such audio file")
    try:
        samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise SerError(f"{path}: not readable as audio ({error})") from error
    if samples.shape[0] == 0:
        raise SerError(f"{path}: the file holds no samples")
    if not np.isfinite(samples).all():
        raise SerError(f"{path}: the file holds NaN or infinite samples")
    mono = np.ascontiguousarray(samples).mean(axis=1)
    if rate_hz != SAMPLE_RATE_HZ:
        mono = soxr.resample(mono, rate_hz, SAMPLE_RATE_HZ)
    result: NDArray[np.float32] = mono.astype(np.float32)
    return result
