"""Classifier of windows: the exported network with its card, checked at load."""

import base64
import binascii
import os
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_live.model.card import METADATA_KEY, GoldenTest, ModelCard
from ser_live.model.catalog import find_model
from ser_live.model.onnx_check import LARGEST_FILE_BYTES, read_metadata
from ser_live.model.onnx_session import open_session, reason, stopping_after
from ser_live.model.prior import ORDINARY_NAME, Outputs
from ser_live.text import quoted, sanitize

INPUT_NAME = "spectrum"
OUTPUT_NAME = "probabilities"
GOLDEN_TEST_SECONDS = 5.0
"""The golden test may take so long; the shipped models take a millisecond."""
_LARGEST_TRIED_BATCH = 4
_MOST_SHARED = 4
_sharing = threading.Lock()
_SUM_TOLERANCE = 0.02
"""Tolerance of the sum of the probabilities: a quantized softmax rounds each."""


class Classifier(Protocol):
    """A loaded model as the engine uses it; `OnnxClassifier` says what each member means."""

    card: ModelCard
    where: str

    @property
    def batch_is_bitwise(self) -> bool: ...  # noqa: D102
    def batch_probabilities(self, windows: NDArray[np.float32]) -> NDArray[np.float32]: ...  # noqa: D102
    # Asked in place of the former where the card has `ordinary_odds`.
    def batch_outputs(self, windows: NDArray[np.float32]) -> Outputs: ...  # noqa: D102


@dataclass(frozen=True, slots=True, eq=False)
class WindowRequest:
    """A window of one stream, to be classified."""

    classifier: Classifier
    window: NDArray[np.float32]
    """Power spectrum, shape (frames, bins)."""


def classify(requests: Sequence[WindowRequest]) -> list[Outputs]:
    """Classify windows of one length by their common classifier in one run."""
    windows, classifier = [request.window for request in requests], requests[0].classifier
    batch = windows[0][np.newaxis] if len(windows) == 1 else np.stack(windows)
    if not classifier.card.ordinary_odds:
        return [Outputs(row) for row in classifier.batch_probabilities(batch)]
    outputs = classifier.batch_outputs(batch)
    ordinary = outputs.ordinary
    return [
        Outputs(row, None if ordinary is None else ordinary[number])
        for number, row in enumerate(outputs.probabilities)
    ]


def read_card(model: str | os.PathLike[str]) -> ModelCard:
    """Read the card alone of a model, as `OnnxClassifier.load` does, without its network.

    Raises
    ------
    SerError
        If the file is missing, unreadable or truncated, or carries no valid card.
    """
    path = find_model(model)
    with _names_of(str(path)):
        return _card_of(_read(path), str(path))


def output_names(card: ModelCard) -> tuple[str, ...]:
    """Return the names of the outputs that a network of this card has."""
    return (OUTPUT_NAME, ORDINARY_NAME) if card.ordinary_odds else (OUTPUT_NAME,)


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

    Examples
    --------
    >>> from ser_live import OnnxClassifier, StreamRecognizer
    >>> model = OnnxClassifier.load("emotion-light")
    >>> caller, agent = StreamRecognizer(model), StreamRecognizer(model)
    >>> caller.classifier is agent.classifier
    True
    """

    def __init__(self, session: onnxruntime.InferenceSession, card: ModelCard, where: str) -> None:
        self.card = card
        self.where = where
        self._session = session
        require_axes(session, card, where)
        self._check_golden()

    @classmethod
    def load(cls, model: str | os.PathLike[str]) -> "OnnxClassifier":
        """Read a model and check it against its card.

        Parameters
        ----------
        model : str or path
            The name of a shipped model, or a path to an ``.onnx`` file.

        Raises
        ------
        SerError
            If the file is missing, unreadable, truncated, carries no valid card, does not fit
            its card, or does not give the probabilities of its golden test.
        """
        path = find_model(model)
        where = str(path)
        data = _read(path)
        session = open_session(data, where)
        with _names_of(where):
            return cls(session, _card_of(data, where), where)

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
            If the network fails or gives anything but probabilities.
        """
        probabilities: NDArray[np.float32] = self.batch_probabilities(window[np.newaxis])[0]
        return probabilities

    def batch_probabilities(
        self, windows: NDArray[np.float32], options: onnxruntime.RunOptions | None = None
    ) -> NDArray[np.float32]:
        """Classify several windows of one length in one run.

        Parameters
        ----------
        windows : ndarray, shape (batch, frames, bins), float32
            Power spectra, at least one frame.
        options : onnxruntime.RunOptions or None

        Returns
        -------
        ndarray, shape (batch, labels), float32
            The same as of single windows.

        Raises
        ------
        SerError
            As `probabilities`.
        """
        return self.batch_outputs(windows, options).probabilities

    def batch_outputs(
        self, windows: NDArray[np.float32], options: onnxruntime.RunOptions | None = None
    ) -> Outputs:
        """Run the network on windows; see `batch_probabilities`, which gives the first output."""
        frames = windows.shape[1]
        try:
            outputs = Outputs(*self._run(windows, options))
        except Exception as error:  # onnxruntime raises a dozen unrelated types
            raise SerError(
                f"{self.where}: the network fails on {frames} frames ({reason(error)}); "
                "export the model again"
            ) from error
        probabilities, ordinary = outputs.probabilities, outputs.ordinary
        wanted = (len(windows), len(self.card.labels))
        if probabilities.shape != wanted:
            raise SerError(
                f"{self.where}: the network gave numbers of shape {probabilities.shape} for "
                f"{frames} frames, wanted {wanted}; export the model again"
            )
        sums, lowest = probabilities.sum(axis=1), probabilities.min(axis=1)
        # Also false where the sum is not a number.
        are_valid = (np.abs(sums - 1.0) <= _SUM_TOLERANCE) & (lowest >= 0.0)
        if not are_valid.all():
            bad = probabilities[int(np.argmin(are_valid))]
            raise SerError(
                f"{self.where}: the network gave {quoted(bad.tolist())}, wanted "
                "probabilities that sum to 1; the weights are damaged: export the model again"
            )
        if ordinary is not None and not (
            ordinary.shape == (len(windows), 1) and ((ordinary >= 0.0) & (ordinary <= 1.0)).all()
        ):
            raise SerError(
                f"{self.where}: the network's output {ORDINARY_NAME!r} is "
                f"{quoted(ordinary.tolist())}, wanted one number from 0 to 1 for each window; "
                "export the model again"
            )
        return outputs

    def measure_seconds(self, runs: int = 4) -> float:
        """Return the processor time of one whole window, in seconds, measured now."""
        window = np.ones((1, self._window_frames, self.card.spectrum.bins), np.float32)
        self._run(window)  # the first run makes room
        began = time.thread_time()
        for _ in range(runs):
            self._run(window)
        return (time.thread_time() - began) / runs

    @property
    def _window_frames(self) -> int:
        card = self.card
        return round(card.window.seconds * card.sample_rate_hz / card.spectrum.hop_samples)

    @cached_property
    def batch_is_bitwise(self) -> bool:
        """True if a batch gives each window's own bits, measured at the first call.

        A stream must not depend on which others share its run, so where this is false its windows
        are run one by one. Some kernels sum in another order when there are more rows.
        """
        golden, spec = self.card.golden, self.card.spectrum
        if golden is None:
            return False
        spectrum = decode_golden(golden, spec.bins, self.where)
        lengths = (len(spectrum), self._window_frames)
        return all(self._is_bitwise(spectrum, frames) for frames in lengths)

    def _is_bitwise(self, spectrum: NDArray[np.float32], frames: int) -> bool:
        """Compare batches of windows of so many frames, made of a spectrum, with single runs."""
        longer = np.resize(spectrum, (frames, spectrum.shape[1]))
        windows = np.stack([np.roll(longer, 7 * k, axis=0) for k in range(_LARGEST_TRIED_BATCH)])
        try:
            # Copies begin elsewhere in memory than rows of a batch, which some sums depend on too.
            singles = [self._run(window[np.newaxis].copy()) for window in windows]
            return all(
                np.array_equal(batch, np.concatenate(rows[:n]))
                for n in range(2, len(windows) + 1)
                for batch, rows in zip(
                    self._run(windows[:n]), zip(*singles, strict=True), strict=True
                )
            )
        except Exception:  # a network that fails at other lengths fails for each stream by itself
            return False

    def _run(
        self, windows: NDArray[np.float32], options: onnxruntime.RunOptions | None = None
    ) -> list[NDArray[np.float32]]:
        outputs: list[NDArray[np.float32]] = self._session.run(
            output_names(self.card), {INPUT_NAME: windows}, options
        )
        return outputs

    def _check_golden(self) -> None:
        golden = self.card.golden
        if golden is None:
            raise SerError(f"{self.where}: the card has no golden test; export the model again")
        spectrum = decode_golden(golden, self.card.spectrum.bins, self.where)
        with stopping_after(GOLDEN_TEST_SECONDS) as options:
            got = self.batch_outputs(spectrum[np.newaxis], options)
        worst = float(np.abs(got.probabilities[0] - np.array(golden.probabilities)).max())
        if got.ordinary is not None and golden.ordinary is not None:
            worst = max(worst, abs(float(got.ordinary[0, 0]) - golden.ordinary))
        if not worst <= golden.tolerance:
            raise SerError(
                f"{self.where}: the golden test is off by {worst:.2g}, at most "
                f"{golden.tolerance:g} is allowed; the file is damaged or this onnxruntime "
                f"({onnxruntime.__version__}) computes it differently"
            )


def require_axes(session: onnxruntime.InferenceSession, card: ModelCard, where: str) -> None:
    """Raise SerError unless a graph's inputs and outputs are those that its card wants."""
    inputs = {i.name: (i.type, i.shape) for i in session.get_inputs()}
    outputs = {o.name: (o.type, o.shape) for o in session.get_outputs()}
    bins, labels = card.spectrum.bins, len(card.labels)
    kind, shape = inputs.get(INPUT_NAME, ("", []))
    fits = len(shape) == 3 and shape[2] == bins and not isinstance(shape[1], int)
    if len(inputs) != 1 or kind != "tensor(float)" or not fits:
        raise SerError(
            f"{where}: the graph's inputs are {sanitize(inputs)}, the card wants one "
            f"{INPUT_NAME!r} of floats with the shape ['batch', 'frames', {bins}]"
        )
    for name, width in zip(output_names(card), (labels, 1), strict=False):
        kind, shape = outputs.get(name, ("", []))
        if kind != "tensor(float)" or len(shape) != 2 or shape[1] != width:
            raise SerError(
                f"{where}: the graph's outputs are {sanitize(outputs)}, the card wants "
                f"{name!r} of floats with the shape ['batch', {width}]"
            )


def load_shared(path: str | os.PathLike[str]) -> OnnxClassifier:
    """Return the classifier of a model file, loaded once for this process and its latest files.

    A file that has changed is loaded anew. Loading again and again costs time, and heap that the
    allocators keep.

    Raises
    ------
    SerError
        As `OnnxClassifier.load`.
    """
    version: tuple[int, ...] = ()
    with suppress(OSError, ValueError):  # reading it will say why not
        status = os.stat(path)  # noqa: PTH116 - may be a str
        version = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
    with _sharing:  # two threads that ask at once load it once
        return _load_version(os.fspath(path), version)


@lru_cache(_MOST_SHARED)
def _load_version(path: str, version: tuple[int, ...]) -> OnnxClassifier:
    return OnnxClassifier.load(path)


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


def golden_test(spectrum: NDArray[np.float16], outputs: Outputs) -> GoldenTest:
    """Make a golden test of an input, shape (frames, bins), and what a network says of it."""
    (probabilities,), ordinary = outputs.probabilities.tolist(), outputs.ordinary
    golden = GoldenTest(encode_golden(spectrum), len(spectrum), tuple(probabilities))
    return golden if ordinary is None else replace(golden, ordinary=ordinary.item())


def encode_golden(spectrum: NDArray[np.float16]) -> str:
    """Pack a golden test's input of shape (frames, bins)."""
    return base64.b64encode(zlib.compress(spectrum.astype("<f2").tobytes(), 9)).decode("ascii")


def _card_of(data: bytes, where: str) -> ModelCard:
    text = read_metadata(data, where).get(METADATA_KEY)
    if text is None:
        raise SerError(
            f"{where}: no model card inside (metadata key {METADATA_KEY!r}); "
            "make the file with ser-export"
        )
    return ModelCard.from_json(text, where)


@contextmanager
def _names_of(where: str) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise SerError(
            f"{where}: a name in the graph or its metadata is no UTF-8; export the model again"
        ) from error


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE_BYTES:
            raise SerError(
                f"{path}: the file has {size} bytes, wanted at most {LARGEST_FILE_BYTES}"
            )
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SerError(f"{path}: cannot read the model ({reason})") from error
