"""Power-spectrum frames to the two pictures that our network looks at."""

from typing import Any

import keras

from ser_train.layers.logmel import LogMel
from ser_train.layers.noise_floor import FloorSubtraction
from ser_train.layers.pitchgram import Pitchgram


@keras.saving.register_keras_serializable(package="ser_train")
class MelAndPitch(keras.layers.Layer):  # type: ignore[misc]
    """Timbre and pitch of speech without steady noise: `LogMel` and `Pitchgram`.

    One layer, so that the members of an ensemble compute it once.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._floor = FloorSubtraction()
        self._log_mel = LogMel()
        self._pitchgram = Pitchgram()

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Build the parts, which have no weights."""
        for part in (self._floor, self._log_mel, self._pitchgram):
            part.build(input_shape)
        self.built = True

    def call(self, power: Any) -> tuple[Any, Any]:
        """Map (batch, frames, bins) power to (batch, mels, frames, 1) and (.., pitches, ..)."""
        speech = self._floor(power)
        return self._log_mel(speech), self._pitchgram(speech)

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments, as Keras saves them."""
        config: dict[str, Any] = super().get_config()
        return config
