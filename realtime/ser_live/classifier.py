"""The exported network with its card: load, check, ask."""

import base64
import binascii
import os
import zlib
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ser_live.card import METADATA_KEY, GoldenTest, ModelCard
from ser_live.errors import SerError
from ser_live.onnx_session import open_session

INPUT_NAME = "spectrum"
OUTPUT_NAME = "probabilities"
_LARGEST_FILE_BYTES = 512 * 2**20


class OnnxClassifier:
    """Probabilities of emotions from a window of power spectrum.

    Any number of recognizers, in any threads, may share one.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
        The graph.
    card : ModelCard
        Its card, with a golden test.
    where : str
        Name of the file, for messages.
    """

    def __init__(self, session: onnxruntime.InferenceSession, card: ModelCard, where: str) -> None:
        self.card = card
        self.where = where
        self._session = session
        self._check_axes()
        self._check_golden()

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "OnnxClassifier":
        """Read a model file and check it against its card.

        Raises
        ------
        SerError
            If the file is missing, unreadable, truncated, carries no valid card, does not fit
            its card, or does not give the probabilities of its golden test.
        """
        where = str(path)
        session = open_session(_read(Path(path)), where)
        card = _card_of(session, where)
        return cls(session, card, where)

    def __repr__(self) -> str:
        card = self.card
        return f"OnnxClassifier({self.where!r}, {card.name!r}, labels={', '.join(card.labels)})"

    def probabilities(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Classify one window.

        Parameters
        ----------
        window : ndarray, shape (frames, bins), float32
            Power spectrum, at least one frame.

        Returns
        -------
        ndarray, shape (labels,), float32
            Calibrated probabilities.

        Raises
        ------
        SerError
            If the network gives anything but finite numbers.
        """
        probabilities: NDArray[np.float32] = self._run(window[np.newaxis])[0]
        if not np.isfinite(probabilities).all():
            raise SerError(
                f"{self.where}: the network gave {probabilities.tolist()}, wanted finite "
                "probabilities; the weights are damaged: export the model again"
            )
        return probabilities

    def _run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        output: NDArray[np.float32] = self._session.run([OUTPUT_NAME], {INPUT_NAME: batch})[0]
        return output

    def _check_axes(self) -> None:
        inputs = {i.name: (i.shape, i.type) for i in self._session.get_inputs()}
        outputs = {o.name: o.shape for o in self._session.get_outputs()}
        shape, kind = inputs.get(INPUT_NAME, (None, None))
        bins, labels = self.card.spectrum.bins, len(self.card.labels)
        if len(inputs) != 1 or shape is None or kind != "tensor(float)":
            raise SerError(f"{self.where}: inputs are {inputs}, wanted one float {INPUT_NAME!r}")
        if len(shape) != 3 or shape[2] != bins or isinstance(shape[1], int):
            raise SerError(
                f"{self.where}: input {INPUT_NAME!r} has shape {shape}, the card wants "
                f"['batch', 'frames', {bins}]"
            )
        if outputs.get(OUTPUT_NAME, [None])[-1] != labels:
            raise SerError(
                f"{self.where}: outputs are {outputs}, the card wants {OUTPUT_NAME!r} with "
                f"{labels} labels"
            )

    def _check_golden(self) -> None:
        golden = self.card.golden
        if golden is None:
            raise SerError(f"{self.where}: the card has no golden test; export the model again")
        spectrum = decode_golden(golden, self.card.spectrum.bins, self.where)
        try:
            got = self._run(spectrum[np.newaxis])[0]
        except Exception as error:  # onnxruntime raises a dozen unrelated types
            reason = " ".join(str(error).split())[:200]
            raise SerError(f"{self.where}: the golden test does not run ({reason})") from error
        worst = float(np.abs(got - np.array(golden.probabilities)).max())
        if not worst <= golden.tolerance:
            raise SerError(
                f"{self.where}: the golden test is off by {worst:.2g}, at most "
                f"{golden.tolerance:g} is allowed; the file is damaged or this onnxruntime "
                f"({onnxruntime.__version__}) computes it differently"
            )


def decode_golden(golden: GoldenTest, bins: int, where: str) -> NDArray[np.float32]:
    """Unpack a golden test's input, shape (frames, bins), or say what is wrong with it."""
    size = golden.frames * bins * 2
    try:
        packed = base64.b64decode(golden.spectrum, validate=True)
        data = zlib.decompressobj().decompress(packed, size + 1)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise SerError(f"{where}: the golden test's input is damaged ({error})") from error
    if len(data) != size:
        raise SerError(f"{where}: the golden test's input is not {size} bytes long")
    return np.frombuffer(data, "<f2").reshape(golden.frames, bins).astype(np.float32)


def encode_golden(spectrum: NDArray[np.float16]) -> str:
    """Pack a golden test's input of shape (frames, bins)."""
    return base64.b64encode(zlib.compress(spectrum.astype("<f2").tobytes(), 9)).decode("ascii")


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > _LARGEST_FILE_BYTES:
            raise SerError(f"{path}: {size} bytes, at most {_LARGEST_FILE_BYTES} are read")
        return path.read_bytes()
    except OSError as error:
        raise SerError(f"{path}: cannot read the model ({error.strerror or error})") from error


def _card_of(session: onnxruntime.InferenceSession, where: str) -> ModelCard:
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise SerError(
            f"{where}: no model card inside (metadata key {METADATA_KEY!r}); "
            "make the file with ser-export"
        )
    return ModelCard.from_json(text, where)
