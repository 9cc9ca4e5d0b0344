"""The lower part of Whisper's encoder: log-mel, convolutions, transformer blocks, pooling.

References
----------
Radford, Kim, Xu, Brockman, McLeavey, Sutskever: Robust speech recognition via large-scale weak
supervision. 2022 (the encoder).
Vaswani et al.: Attention is all you need. 2017 (the blocks).
"""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from ser_train.layers.mel_and_pitch import SAMPLE_RATE_HZ

FFT_SAMPLES, HOP_SAMPLES = 400, 160
MELS = 80
UNITS, HEADS, INNER_UNITS = 384, 6, 1536
MOST_POSITIONS = 1500
"""Two frames each: 30 s."""
_MEAN_POWER = 1.5
"""Mean power of a bin after normalisation, as of speech at -20 dB of full scale."""
_SILENT_POWER = 1e-30
_SMALLEST_MEL_POWER = 1e-10
_RANGE_DECADES = 8.0
"""Whisper hears nothing that lies further under the loudest band of the recording."""
_MASKED_SCORE = -1e9
_EPSILON = 1e-5
_SMALLEST_VARIANCE = 1e-5


@keras.saving.register_keras_serializable(package="ser_train")
class SpeechEncoder(layers.Layer):  # type: ignore[misc]
    """Mean and deviation over time of what the blocks of a pretrained encoder give.

    Its weights come from `ser_train.models.whisper_file` and are frozen.

    Parameters
    ----------
    blocks : int
        Transformer blocks, counted from below; the output of each is pooled.
    """

    def __init__(self, blocks: int = 3, **options: Any) -> None:
        super().__init__(**options)
        self.blocks = blocks
        self._log_mel = WhisperLogMel(name="log_mel")
        self._conv1 = _convolution(1, "conv1")
        self._conv2 = _convolution(2, "conv2")
        self._blocks = [TransformerBlock(name=f"block{number}") for number in range(blocks)]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the weights, for a power spectrum of 201 bins."""
        self._log_mel.build(input_shape)
        self._conv1.build((None, None, MELS))
        self._conv2.build((None, None, UNITS))
        self.positions = self.add_weight(
            shape=(MOST_POSITIONS, UNITS), initializer="zeros", name="positions"
        )
        for block in self._blocks:
            block.build((None, None, UNITS))
        self.built = True

    def call(self, power: Any) -> Any:
        """Map (batch, frames, 201) power to (batch, 2 * 384 * blocks) statistics.

        Frames of digital silence count nowhere: they pad the windows of a batch.
        """
        heard = ops.cast(ops.max(power, axis=-1) > 0.0, power.dtype)
        x = self._log_mel(power)
        x = _gelu(self._conv1(ops.pad(x, ((0, 0), (1, 1), (0, 0)))))
        x = _gelu(self._conv2(ops.pad(x, ((0, 0), (1, 1), (0, 0)))))
        heard = heard[:, ::2]
        x = x + self.positions[: ops.shape(x)[1]]
        mask = (1.0 - heard[:, None, None, :]) * _MASKED_SCORE
        shares = heard / ops.maximum(ops.sum(heard, axis=-1, keepdims=True), 1.0)
        pooled = []
        for block in self._blocks:
            x = block(x, mask)
            pooled += _statistics(x, shares)
        return ops.concatenate(pooled, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, as Keras saves them."""
        return {**super().get_config(), "blocks": self.blocks}


@keras.saving.register_keras_serializable(package="ser_train")
class WhisperLogMel(layers.Layer):  # type: ignore[misc]
    """Whisper's log-mel of a window whose mean power is normalised first: gain changes nothing."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Take librosa's filter bank, which Whisper uses."""
        from librosa.filters import mel  # noqa: PLC0415 - a second, and only building needs it

        bank = mel(sr=SAMPLE_RATE_HZ, n_fft=FFT_SAMPLES, n_mels=MELS)
        self._bank = np.ascontiguousarray(bank.T.astype(np.float32))
        self.built = True

    def call(self, power: Any) -> Any:
        """Map (batch, frames, 201) power to (batch, frames, 80)."""
        mel = ops.matmul(power, self._bank)
        flat = ops.reshape(power, (ops.shape(power)[0], -1))  # one axis: a batch gives windows
        frames = ops.sum(ops.cast(ops.max(power, axis=-1) > 0.0, power.dtype), -1, keepdims=True)
        total = ops.sum(flat, axis=-1, keepdims=True)
        mean = ops.maximum(total, _SILENT_POWER) / ops.maximum(frames * power.shape[-1], 1.0)
        scale = ops.expand_dims(_MEAN_POWER / mean, -1)
        levels = ops.log10(ops.maximum(mel * scale, _SMALLEST_MEL_POWER))
        loudest = ops.max(
            ops.reshape(levels, (ops.shape(levels)[0], -1)), axis=-1, keepdims=True
        )
        levels = ops.maximum(levels, ops.expand_dims(loudest, -1) - _RANGE_DECADES)
        return (levels + 4.0) / 4.0


@keras.saving.register_keras_serializable(package="ser_train")
class TransformerBlock(layers.Layer):  # type: ignore[misc]
    """Self-attention and two dense layers, each added to what came in, normalised before."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.attention_norm = layers.LayerNormalization(epsilon=_EPSILON, name="attention_norm")
        self.query = layers.Dense(UNITS, name="query")
        self.key = layers.Dense(UNITS, use_bias=False, name="key")
        self.value = layers.Dense(UNITS, name="value")
        self.attended = layers.Dense(UNITS, name="attended")
        self.dense_norm = layers.LayerNormalization(epsilon=_EPSILON, name="dense_norm")
        self.inner = layers.Dense(INNER_UNITS, name="inner")
        self.outer = layers.Dense(UNITS, name="outer")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the weights."""
        for layer in (self.attention_norm, self.query, self.key, self.value, self.attended):
            layer.build(input_shape)
        for layer in (self.dense_norm, self.inner):
            layer.build(input_shape)
        self.outer.build((*input_shape[:-1], INNER_UNITS))
        self.built = True

    def call(self, x: Any, mask: Any) -> Any:
        """Map (batch, time, 384) to the same; ``mask`` (batch, 1, 1, time) is added to scores."""
        y = self.attention_norm(x)
        query, key = _split(self.query(y) * (UNITS // HEADS) ** -0.5), _split(self.key(y))
        weights = ops.softmax(ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) + mask, axis=-1)
        heads = ops.transpose(ops.matmul(weights, _split(self.value(y))), (0, 2, 1, 3))
        x = x + self.attended(ops.reshape(heads, (-1, ops.shape(x)[1], UNITS)))
        return x + self.outer(_gelu(self.inner(self.dense_norm(x))))


def _convolution(stride: int, name: str) -> Any:
    return layers.Conv1D(UNITS, 3, strides=stride, padding="valid", name=name)


def _split(x: Any) -> Any:
    """Map (batch, time, units) to (batch, heads, time, units of a head)."""
    split = ops.reshape(x, (-1, ops.shape(x)[1], HEADS, UNITS // HEADS))
    return ops.transpose(split, (0, 2, 1, 3))


def _gelu(x: Any) -> Any:
    """Return the Gaussian error linear unit, in the form that onnxruntime knows as one step."""
    return 0.5 * x * (1.0 + ops.erf(x / 2.0**0.5))


def _statistics(x: Any, shares: Any) -> list[Any]:
    """Return mean and deviation over time, (batch, units) each; sums run over the last axis."""
    values = ops.transpose(x, (0, 2, 1))
    weights = ops.expand_dims(shares, 1)
    mean = ops.sum(values * weights, axis=-1, keepdims=True)
    variance = ops.sum(ops.square(values - mean) * weights, axis=-1, keepdims=True)
    return [mean[..., 0], ops.sqrt(variance + _SMALLEST_VARIANCE)[..., 0]]
