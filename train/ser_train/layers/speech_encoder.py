"""The lower part of Whisper's encoder: log-mel, convolutions, transformer blocks, pooling.

References
----------
Radford, Kim, Xu, Brockman, McLeavey, Sutskever: Robust speech recognition via large-scale weak
supervision. 2022 (the encoder).
Vaswani et al.: Attention is all you need. 2017 (the blocks).
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from ser_train.layers.mel_and_pitch import SAMPLE_RATE_HZ

FFT_SAMPLES, HOP_SAMPLES = 400, 160
MELS = 80
_TAPS = 3
UNITS, HEADS, INNER_UNITS = 384, 6, 1536
MOST_POSITIONS = 1500
"""Two frames each: 30 s."""
_MEAN_POWER = 1.5
"""Mean power of a bin after normalisation, as of speech at -20 dB of full scale."""
_SILENT_POWER = 1e-30
_VECTOR = 16
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
    units, heads, inner_units : int
        Channels, heads of the attention, and width between the two dense layers of a block.

    Notes
    -----
    Frames of all windows lie in the rows of one matrix wherever they do not meet: the plain
    products, convolutions among them, are the fastest that onnxruntime has, and `ser-export`
    makes whole numbers of them.
    """

    def __init__(
        self,
        blocks: int = 3,
        units: int = UNITS,
        heads: int = HEADS,
        inner_units: int = INNER_UNITS,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.blocks, self.units, self.heads, self.inner_units = blocks, units, heads, inner_units
        self._log_mel = WhisperLogMel(name="log_mel")
        self._conv1 = _Dense(units, name="conv1")
        self._conv2 = _Dense(units, name="conv2")
        self._blocks = [
            TransformerBlock(units, heads, inner_units, name=f"block{number}")
            for number in range(blocks)
        ]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the weights, for a power spectrum of 201 bins."""
        self._log_mel.build(input_shape)
        self._conv1.build((None, _TAPS * MELS))
        self._conv2.build((None, _TAPS * self.units))
        self.positions = self.add_weight(
            shape=(MOST_POSITIONS, self.units),
            initializer="zeros",
            name="positions",
            dtype="float16",
            autocast=False,
            trainable=False,
        )
        for block in self._blocks:
            block.build((None, self.units))
        self.built = True

    def call(self, power: Any) -> Any:
        """Map (batch, frames, 201) power to (batch, 2 * units * blocks) statistics.

        Frames of digital silence count nowhere: they pad the windows of a batch.
        """
        _, pooled = _through(self._blocks, *self.embed(power))
        return ops.concatenate(pooled, axis=-1)

    def embed(self, power: Any) -> tuple[Any, Any]:
        """Map power to (batch, time, units) before the blocks, and which of it is heard."""
        heard = ops.cast(ops.max(power, axis=-1) > 0.0, power.dtype)
        rows = _gelu(self._conv1(_neighbours(self._log_mel(power), 1)))
        x = ops.reshape(rows, (-1, ops.shape(power)[1], self.units))
        heard = heard[:, ::2]
        time = ops.shape(heard)[1]
        rows = _gelu(self._conv2(_neighbours(x, 2)))
        positions = ops.cast(self.positions[:time], power.dtype)
        return ops.reshape(rows, (-1, time, self.units)) + positions, heard

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, as Keras saves them."""
        sizes = {"units": self.units, "heads": self.heads, "inner_units": self.inner_units}
        return {**super().get_config(), "blocks": self.blocks, **sizes}

    def save_own_variables(self, store: Any) -> None:
        """Store the positions."""
        _save_halves(self, store)


class LowerEncoder(layers.Layer):  # type: ignore[misc]
    """What an encoder gives below its last blocks, in half precision: theirs is trained on it.

    Parameters
    ----------
    encoder : SpeechEncoder
        Stays as it is.
    upper : int
        Number of the last blocks.
    time : int
        Rows that shorter windows are filled up to with zeros.
    """

    def __init__(self, encoder: SpeechEncoder, upper: int, time: int, **options: Any) -> None:
        super().__init__(**options)
        self.encoder, self.upper, self.time = encoder, upper, time

    def call(self, power: Any) -> Any:
        """Map power to (batch, 2 per block + time, units): statistics of each block, then rows."""
        x, heard = self.encoder.embed(power)
        x, pooled = _through(self.encoder._blocks[: -self.upper], x, heard)
        x = ops.pad(x * heard[..., None], ((0, 0), (0, self.time - ops.shape(x)[1]), (0, 0)))
        statistics = [ops.expand_dims(row, 1) for row in pooled]
        return ops.cast(ops.concatenate([*statistics, x], axis=1), "float16")

    def get_config(self) -> dict[str, Any]:
        """Return all that decides the output beside the weights."""
        return {"encoder": self.encoder.get_config(), "upper": self.upper, "time": self.time}


class UpperEncoder(layers.Layer):  # type: ignore[misc]
    """The last blocks of an encoder, from what `LowerEncoder` gives to the encoder's statistics.

    Parameters
    ----------
    encoder : SpeechEncoder
        Its blocks learn here, not copies of them.
    upper : int
        Number of the last blocks.
    """

    def __init__(self, encoder: SpeechEncoder, upper: int, **options: Any) -> None:
        super().__init__(**options)
        self.lower = 2 * (encoder.blocks - upper)
        self._blocks = encoder._blocks[-upper:]

    def call(self, below: Any) -> Any:
        """Map (batch, rows, units) to (batch, 2 * units * blocks)."""
        x = below[:, self.lower :]
        heard = ops.cast(ops.any(x != 0.0, axis=-1), x.dtype)
        _, pooled = _through(self._blocks, x, heard)
        return ops.concatenate([*(below[:, row] for row in range(self.lower)), *pooled], axis=-1)


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
        # One axis, so that a batch gives windows, and rows that fill vectors of the processor: else
        # the order of the sum would depend on where in memory the window begins.
        filled = ops.pad(power, ((0, 0), (0, 0), (0, -power.shape[-1] % _VECTOR)))
        flat = ops.reshape(filled, (ops.shape(power)[0], -1))
        frames = ops.sum(ops.cast(ops.max(power, axis=-1) > 0.0, power.dtype), -1, keepdims=True)
        total = ops.sum(flat, axis=-1, keepdims=True)
        mean = ops.maximum(total, _SILENT_POWER) / ops.maximum(frames * power.shape[-1], 1.0)
        scale = ops.expand_dims(_MEAN_POWER / mean, -1)
        levels = ops.log10(ops.maximum(mel * scale, _SMALLEST_MEL_POWER))
        loudest = ops.max(ops.reshape(levels, (ops.shape(levels)[0], -1)), axis=-1, keepdims=True)
        levels = ops.maximum(levels, ops.expand_dims(loudest, -1) - _RANGE_DECADES)
        return (levels + 4.0) / 4.0


@keras.saving.register_keras_serializable(package="ser_train")
class TransformerBlock(layers.Layer):  # type: ignore[misc]
    """Self-attention and two dense layers, each added to what came in, normalised before."""

    def __init__(self, units: int, heads: int, inner_units: int, **options: Any) -> None:
        super().__init__(**options)
        self.units, self.heads, self.inner_units = units, heads, inner_units
        self.attention_norm = _Normalization(name="attention_norm")
        self.query_key_value = _Dense(3 * units, name="query_key_value")
        self.attended = _Dense(units, name="attended")
        self.dense_norm = _Normalization(name="dense_norm")
        self.inner = _Dense(inner_units, name="inner")
        self.outer = _Dense(units, name="outer")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the weights."""
        for layer in (self.attention_norm, self.query_key_value, self.attended):
            layer.build(input_shape)
        for layer in (self.dense_norm, self.inner):
            layer.build(input_shape)
        self.outer.build((None, self.inner_units))
        self.built = True

    def call(self, rows: Any, mask: Any) -> Any:
        """Map (batch * time, units) to the same; ``mask`` (batch, 1, 1, time) adds to scores."""
        units_of_head = self.units // self.heads
        together = self.query_key_value(self.attention_norm(rows))
        split = ops.reshape(together, (-1, ops.shape(mask)[-1], 3 * self.heads, units_of_head))
        query, key, value = ops.split(ops.transpose(split, (0, 2, 1, 3)), 3, axis=1)
        scores = ops.matmul(query * units_of_head**-0.5, ops.transpose(key, (0, 1, 3, 2)))
        heads = ops.matmul(ops.softmax(scores + mask, axis=-1), value)
        heads = ops.reshape(ops.transpose(heads, (0, 2, 1, 3)), (-1, self.units))
        rows = rows + self.attended(heads)
        return rows + self.outer(_gelu(self.inner(self.dense_norm(rows))))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, as Keras saves them."""
        sizes = {"units": self.units, "heads": self.heads, "inner_units": self.inner_units}
        return {**super().get_config(), **sizes}


class _Dense(layers.Dense):  # type: ignore[misc]
    """A dense layer whose weights are stored in half precision, as they were published."""

    def save_own_variables(self, store: Any) -> None:
        _save_halves(self, store)


class _Normalization(layers.Layer):  # type: ignore[misc]
    """Layer normalization, in the form that onnxruntime knows as one step."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.gamma = self.add_weight(shape=input_shape[-1:], initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=input_shape[-1:], initializer="zeros", name="beta")
        self.built = True

    def call(self, rows: Any) -> Any:
        centred = rows - ops.mean(rows, axis=-1, keepdims=True)
        variance = ops.mean(ops.power(centred, 2.0), axis=-1, keepdims=True)
        return centred / ops.sqrt(variance + _EPSILON) * self.gamma + self.beta

    def save_own_variables(self, store: Any) -> None:
        _save_halves(self, store)


def _save_halves(layer: Any, store: Any) -> None:
    """Store a layer's own weights in half precision; Keras widens them when it reads them."""
    own = layer._trainable_variables + layer._non_trainable_variables
    for number, variable in enumerate(own):
        store[str(number)] = ops.convert_to_numpy(variable).astype(np.float16)


def _neighbours(x: Any, stride: int) -> Any:
    """Map (batch, time, channels) to a row of three neighbours for every ``stride``-th frame."""
    padded = ops.pad(x, ((0, 0), (1, 1), (0, 0)))
    ends = (-2, -1, None)
    taps = [padded[:, first:end:stride] for first, end in enumerate(ends)]
    return ops.reshape(ops.concatenate(taps, axis=-1), (-1, _TAPS * x.shape[-1]))


def _through(blocks: Sequence[TransformerBlock], x: Any, heard: Any) -> tuple[Any, list[Any]]:
    """Map (batch, time, units) to the same behind the blocks, and the statistics of each."""
    shape = (-1, *ops.shape(x)[1:])
    mask = (1.0 - heard[:, None, None, :]) * _MASKED_SCORE
    shares = heard / ops.maximum(ops.sum(heard, axis=-1, keepdims=True), 1.0)
    rows, pooled = ops.reshape(x, (-1, x.shape[-1])), []
    for block in blocks:
        rows = block(rows, mask)
        x = ops.reshape(rows, shape)
        pooled += _statistics(x, shares)
    return x, pooled


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
