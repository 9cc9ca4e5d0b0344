"""An audio file to the samples that everything works on."""

import logging
import sys
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_live.model.card import SAMPLE_RATE_HZ
from ser_live.sources.audio_reader import AudioReader

_log = logging.getLogger(__name__)


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
        If the file is missing, unreadable, empty or holds NaN or infinity. What cannot be read
        of it otherwise is a warning of this module's log.
    """
    with AudioReader(path) as reader:
        samples = reader.read(sys.maxsize)
    for note in reader.notes:
        _log.warning("%s: %s", reader.name, note)
    if not np.isfinite(samples).all():
        raise SerError(f"{path}: the file holds NaN or infinite samples")
    mono = np.ascontiguousarray(samples).mean(axis=1)
    if reader.sample_rate_hz != SAMPLE_RATE_HZ:
        mono = soxr.resample(mono, reader.sample_rate_hz, SAMPLE_RATE_HZ)
    result: NDArray[np.float32] = mono.astype(np.float32)
    return result
