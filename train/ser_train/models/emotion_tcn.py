"""Our sequence network: log-mel and pitch, 2-D stems, residual dilated convolutions, attention.

Inside, the axes are (batch, mel, time, channels) and every convolution is a 2-D one: the export
then folds each normalisation and each padding into its convolution and needs no transposes, and
onnxruntime can use its blocked layout, which wants time, the long axis, last.
"""

from typing import Any

import keras
from keras import layers

from ser_train.layers import AttentiveStatistics, MelAndPitch, with_probabilities

MEL_STEM_CHANNELS = (16, 32, 64)
PITCH_STEM_CHANNELS = (8, 16, 32)
STEM_KERNELS = (5, 3, 3)
TRUNK_CHANNELS = 192
PITCH_CHANNELS = 48
"""Of those of the trunk."""
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
    log_mel, pitchgram = MelAndPitch(name="mel_and_pitch")(spectrum)
    timbre = _stem(log_mel, MEL_STEM_CHANNELS, TRUNK_CHANNELS - PITCH_CHANNELS)
    x = layers.Concatenate()([timbre, _stem(pitchgram, PITCH_STEM_CHANNELS, PITCH_CHANNELS)])
    for dilation in TRUNK_DILATIONS:
        x = _residual(x, dilation)
    x = layers.BatchNormalization(momentum=NORMALISATION_MOMENTUM)(_pool(x))
    x = layers.Dropout(HEAD_DROPOUT)(x)
    logits = layers.Dense(n_labels, name="logits")(x)
    return with_probabilities(spectrum, logits, "emotion_tcn")


def _stem(x: Any, channels: tuple[int, ...], last_channels: int) -> Any:
    """Map (batch, bands, time, 1) to (batch, 1, time / 8, last_channels): steps of 80 ms."""
    for count, size in zip(channels, STEM_KERNELS, strict=True):
        x = layers.ZeroPadding2D(size // 2)(x)
        x = _convolution(x, count, (size, size), stride=2)
    return _convolution(x, last_channels, (x.shape[1], 1))  # what is left of the bands


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
