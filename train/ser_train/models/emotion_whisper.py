"""The network of the default model: a pretrained speech encoder, frozen, and a small head."""

from typing import Any

import keras
from keras import layers

from ser_train.layers import SpeechEncoder, with_probabilities

HEAD_UNITS = 256
INPUT_DROPOUT = 0.3
HEAD_DROPOUT = 0.4
NORMALISATION_MOMENTUM = 0.95


def build_emotion_whisper(n_labels: int, bins: int, **sizes: int) -> Any:
    """Build the network; the encoder is empty until `ser_train.models.whisper_file` fills it.

    Parameters
    ----------
    n_labels : int
        Number of labels.
    bins : int
        Frequency bins of the power spectrum: 201.
    **sizes : int
        Of the encoder, where it is not Whisper's.

    Returns
    -------
    keras.Model
        From "spectrum" (batch, frames, bins) to "probabilities" (batch, n_labels); any number
        of frames.
    """
    spectrum = keras.Input((None, bins), name="spectrum")
    statistics = SpeechEncoder(**sizes, trainable=False, name="encoder")(spectrum)
    x = layers.Normalization(name="standardize")(statistics)
    x = layers.Dense(HEAD_UNITS)(layers.Dropout(INPUT_DROPOUT)(x))
    x = layers.ReLU()(layers.BatchNormalization(momentum=NORMALISATION_MOMENTUM)(x))
    logits = layers.Dense(n_labels, name="logits")(layers.Dropout(HEAD_DROPOUT)(x))
    return with_probabilities(spectrum, logits, "emotion_whisper")
