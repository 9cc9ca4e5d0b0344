"""Training: front ends and networks as Keras layers, corpora, fitting and honest evaluation.

Importing this package is instant: Keras, TensorFlow and librosa load in the functions that
need them, and come with the extra ``train``.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from ser_live.errors import SerError
from ser_train.models.registry import MISSING_EXTRA, create_model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["create_model", "pooled193"]


def pooled193(path: str | Path) -> "NDArray[np.float32]":
    """Return the 193 pooled features of a recording that the published network rests on.

    Parameters
    ----------
    path : str or Path
        Any audio file that libsndfile reads, of any rate, length and number of channels.

    Returns
    -------
    ndarray, shape (193, 1), float32
        MFCC 40 | chroma 12 | mel 128 | contrast 7 | tonnetz 6, means over time at 16 kHz, with
        frames of 2048 samples every 512 and no padding; a clip shorter than one frame is
        filled with zeros to one.

    Raises
    ------
    SerError
        If the file is missing, is no audio, holds no samples or numbers that are not finite, or
        if the extra ``train`` is not installed.

    References
    ----------
    Issa, Demirci, Yazici: Speech emotion recognition with deep convolutional neural networks.
    Biomedical Signal Processing and Control 59:101894, 2020.
    """
    try:
        from ser_train.models.issa2020 import pooled_features  # noqa: PLC0415
    except ImportError as error:
        raise SerError(MISSING_EXTRA.format(error)) from error
    return pooled_features(Path(path))
