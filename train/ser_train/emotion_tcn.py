"""Our sequence network: log-mel, a small 2-D stem, a residual dilated TCN, attentive pooling."""

from typing import Any

import keras
from keras import layers

from ser_train.layers import AttentiveStatistics, LogMel, Temperature

CHANNELS = 128
DILATIONS = (1, 2, 4, 1, 2, 4)
MOMENTUM = 0.95


def _normalised(x: Any) -> Any:
    return layers.Activation("relu")(layers.BatchNormalization(momentum=MOMENTUM)(x))


def _convolution_2d(x: Any, channels: int, kernel: int, strides: tuple[int, int]) -> Any:
    x = layers.ZeroPadding2D((kernel - 1) // 2)(x)
    convolution = layers.Conv2D(
        channels, kernel, strides=strides, use_bias=False, kernel_initializer="he_normal"
    )
    return _normalised(convolution(x))


def _convolution_1d(x: Any, channels: int, kernel: int, dilation: int = 1) -> Any:
    """Pad, then convolve without padding: exports to a third of the nodes of "same"."""
    if kernel > 1:
        x = layers.ZeroPadding1D(dilation * (kernel - 1) // 2)(x)
    convolution = layers.Conv1D(
        channels, kernel, dilation_rate=dilation, use_bias=False, kernel_initializer="he_normal"
    )
    return _normalised(convolution(x))


def _stem(x: Any) -> Any:
    x = layers.Reshape((-1, x.shape[2], 1))(x)
    x = _convolution_2d(x, 16, 5, (2, 2))
    x = _convolution_2d(x, 32, 3, (2, 2))
    x = layers.Reshape((-1, x.shape[2] * x.shape[3]))(x)
    return _convolution_1d(layers.SpatialDropout1D(0.1)(x), CHANNELS, 1)


def build_emotion_tcn(n_labels: int, bins: int) -> Any:
    """Build the network with fresh weights.

    Parameters
    ----------
    n_labels : int
        Number of labels.
    bins : int
        Frequency bins of the power spectrum.

    Returns
    -------
    keras.Model
        From "spectrum" (batch, frames, bins) to "probabilities" (batch, n_labels).
    """
    spectrum = keras.Input((None, bins), name="spectrum")
    x = LogMel(name="log_mel")(spectrum)
    x = layers.Rescaling(0.25 * 0.2302585, name="scale")(x)
    x = _stem(x)
    for dilation in DILATIONS:
        branch = layers.SpatialDropout1D(0.1)(_convolution_1d(x, CHANNELS, 3, dilation))
        x = layers.Add()([x, branch])
    x = AttentiveStatistics(64, name="pooling")(x)
    x = layers.Dropout(0.4)(layers.BatchNormalization(momentum=MOMENTUM)(x))
    logits = layers.Dense(n_labels, name="logits")(x)
    tempered = Temperature(name="temperature")(logits)
    probabilities = layers.Softmax(name="probabilities")(tempered)
    return keras.Model(spectrum, probabilities, name="emotion_tcn")
