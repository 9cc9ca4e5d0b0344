"""Our sequence network: log-mel, a small 2-D stem, residual dilated convolutions, attention.

Inside, the axes are (batch, mel, time, channels) and every convolution is a 2-D one: the export
then folds each normalisation and each padding into its convolution and needs no transposes, and
onnxruntime can use its blocked layout, which wants time, the long axis, last.
"""

from typing import Any

import keras
from keras import layers

from ser_train.layers import AttentiveStatistics, LogMel, Temperature

STEM_CHANNELS = (16, 32, 64)
STEM_KERNELS = (5, 3, 3)
TRUNK_CHANNELS = 192
TRUNK_DILATIONS = (1, 2, 1, 2)
ATTENTION_UNITS = 64
BLOCK_DROPOUT = 0.1
HEAD_DROPOUT = 0.4
NORMALISATION_MOMENTUM = 0.95


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
        From "spectrum" (batch, frames, bins) to "probabilities" (batch, n_labels); any number
        of frames from 8 on.
    """
    spectrum = keras.Input((None, bins), name="spectrum")
    x = _stem(LogMel(name="log_mel")(spectrum))
    x = _convolution(x, TRUNK_CHANNELS, (x.shape[1], 1))  # what is left of mel goes into channels
    for dilation in TRUNK_DILATIONS:
        x = _residual(x, dilation)
    x = layers.BatchNormalization(momentum=NORMALISATION_MOMENTUM)(_pool(x))
    x = layers.Dropout(HEAD_DROPOUT)(x)
    logits = layers.Dense(n_labels, name="logits")(x)
    tempered = Temperature(name="temperature")(logits)
    probabilities = layers.Softmax(name="probabilities")(tempered)
    return keras.Model(spectrum, probabilities, name="emotion_tcn")


def _stem(x: Any) -> Any:
    """Map (batch, mel, time, 1) to an eighth of mel and time: steps of 80 ms."""
    for channels, size in zip(STEM_CHANNELS, STEM_KERNELS, strict=True):
        x = layers.ZeroPadding2D(size // 2)(x)
        x = _convolution(x, channels, (size, size), stride=2)
    return x


def _residual(x: Any, dilation: int) -> Any:
    """Pad, then convolve without padding: "same" with dilation exports as a long emulation."""
    y = layers.ZeroPadding2D((0, dilation))(x)
    y = _convolution(y, TRUNK_CHANNELS, (1, 3), dilation=dilation)
    return layers.Add()([x, layers.SpatialDropout2D(BLOCK_DROPOUT)(y)])


def _convolution(
    x: Any, channels: int, kernel: tuple[int, int], stride: int = 1, dilation: int = 1
) -> Any:
    """Convolve, normalise, rectify; ``kernel`` is (mel, time), ``dilation`` is in time."""
    x = layers.Conv2D(
        channels,
        kernel,
        strides=stride,
        dilation_rate=(1, dilation),
        use_bias=False,
        kernel_initializer="he_normal",
    )(x)
    return layers.ReLU()(layers.BatchNormalization(momentum=NORMALISATION_MOMENTUM)(x))


def _pool(x: Any) -> Any:
    scores = layers.Conv2D(ATTENTION_UNITS, 1, activation="tanh")(x)
    scores = layers.Conv2D(x.shape[-1], 1)(scores)
    return AttentiveStatistics(name="pooling")([x, scores])
