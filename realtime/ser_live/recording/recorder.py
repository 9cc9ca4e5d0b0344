"""Source that keeps on disk what another one delivers."""

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Self

from ser_live import __version__
from ser_live.engine.channels import UseChannels
from ser_live.errors import SerError
from ser_live.model.catalog import DEFAULT_MODEL, find_model, model_sha256
from ser_live.model.prior import PriorChoice
from ser_live.recording.files import RecordingFiles, refusal
from ser_live.recording.sidecar import Session, sidecar_path
from ser_live.sources.contract import Block, Expectant, Notice, Source, SourceCounters

_LOG = logging.getLogger(__name__)


class Recorder:
    """Any source, kept on disk while it is read: itself a source, to be given to `listen`.

    Everything that the source delivers is kept exactly (NaN stays NaN), and both files are
    complete after every block, also if the process is killed. A disk that is full, or a
    device that comes back in another format, ends the recording with a warning in the log and
    an entry in `notes`; the stream goes on.

    Parameters
    ----------
    source : Source
        The source to keep.
    path : path
        Ends in ``.wav``; neither it nor its sidecar may exist: recordings are precious.
    model, window_seconds, hop_seconds, smoothing_seconds, vad, prior, uncertain_below
        Those of the recognizer, kept for the replay; see `StreamRecognizer`.
    use_channels
        As of `ser_live.listen`; kept for the replay too. The recording holds all channels.

    Raises
    ------
    SerError
        On entering, if the files cannot be made.
    """

    def __init__(
        self,
        source: Source,
        path: str | os.PathLike[str],
        model: str | os.PathLike[str] | None = None,
        window_seconds: float | None = None,
        hop_seconds: float = 0.25,
        smoothing_seconds: float | None = None,
        vad: bool = True,
        prior: PriorChoice = None,
        uncertain_below: float | None = None,
        use_channels: UseChannels = "mix",
    ) -> None:
        self.source = source
        self.path = Path(path)
        self._model = model
        self._session = partial(
            Session,
            version=__version__,
            window_seconds=window_seconds,
            hop_seconds=hop_seconds,
            smoothing_seconds=smoothing_seconds,
            vad=vad,
            prior=dict(prior) if isinstance(prior, Mapping) else prior,
            uncertain_below=uncertain_below,
            use_channels=use_channels if isinstance(use_channels, str) else list(use_channels),
        )
        self._files: RecordingFiles | None = None
        self._in_use = threading.Lock()
        self._notes: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        if self.path.suffix.lower() != ".wav":
            raise SerError(
                f"{self.path}: recordings are WAV files; wanted a name that ends in .wav"
            )
        for file in (self.path, sidecar_path(self.path)):  # before a device is opened
            if os.path.exists(file):  # noqa: PTH110 - False for a path that cannot be
                raise refusal(file, FileExistsError())
        self.source.__enter__()
        try:
            self._files = RecordingFiles(self.path, self._described())
            _LOG.info("recording %s to %s", self.source.name, self.path)
        except BaseException:
            self.source.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.source.__exit__(None, None, None)
        with self._in_use:
            if self._files is not None:
                self._files.close()
                self._files = None

    def __iter__(self) -> Iterator[Block | Notice]:
        files = self._files
        for item in self.source:
            with self._in_use:
                self._keep(item)
            yield item
        with self._in_use:
            if files is not None and self.is_whole:
                files.end()

    @property
    def name(self) -> str:
        """Name of the source, for people."""
        return self.source.name

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the source."""
        return self.source.sample_rate_hz

    @property
    def channels(self) -> int:
        """Channels of the source."""
        return self.source.channels

    @property
    def is_live(self) -> bool:
        """The source cannot wait."""
        return self.source.is_live

    @property
    def counters(self) -> SourceCounters:
        """Account of every frame of the source up to now."""
        return self.source.counters

    @property
    def notes(self) -> tuple[str, ...]:
        """The source's, and why the recording stopped if it did."""
        return self.source.notes + self._notes

    @property
    def is_whole(self) -> bool:
        """Nothing made the recording stop before the stream."""
        return not self._notes

    @property
    def share(self) -> float | None:
        """Share of the source that has been read; None where that is not known."""
        return getattr(self.source, "share", None)

    def skip_to_newest(self, keep_seconds: float) -> None:
        """Let the source drop what waits; the recording says how much that was."""
        self.source.skip_to_newest(keep_seconds)

    def expect(self, seconds: float) -> None:
        """Let the source know when something is due, if it wants to."""
        if isinstance(self.source, Expectant):
            self.source.expect(seconds)

    def close(self) -> None:
        """Stop capturing; the files are complete already."""
        self.source.close()

    def _described(self) -> Session:
        file = find_model(self._model)
        wanted = DEFAULT_MODEL if self._model is None else os.fspath(self._model)
        return self._session(
            source=self.source.name,
            sample_rate_hz=self.source.sample_rate_hz,
            channels=self.source.channels,
            model=wanted if wanted == file.stem else str(file.resolve()),
            model_sha256=model_sha256(file),
        )

    def _keep(self, item: Block | Notice) -> None:
        files = self._files
        if files is None:
            return
        try:
            if isinstance(item, Notice):
                files.notice(item)
            elif change := files.change_of_format(item, self.source.sample_rate_hz):
                self._stop(files, change)
            else:
                files.block(item)
        except OSError as error:
            self._stop(files, f"cannot write on ({error.strerror or error})")

    def _stop(self, files: RecordingFiles, reason: str) -> None:
        self._files = None
        seconds = files.wav.frames / files.wav.sample_rate_hz
        files.stop(reason)
        note = f"{self.path}: {reason}; the recording ends at {seconds:.2f} s"
        self._notes += (note,)
        _LOG.warning("%s", note)
