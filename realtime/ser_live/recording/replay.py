"""Source that reads a recording."""

import logging
import os
import sys
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

from ser_live.errors import SerError
from ser_live.recording.sidecar import EndMark, NoticeMark, StopMark, read_marks, read_session
from ser_live.sources.contract import Block, Notice, SourceCounters, WaitingSource
from ser_live.sources.files import FileSource, Pace

_LOG = logging.getLogger(__name__)


class ReplaySource(WaitingSource):
    """Recording of a `Recorder`: the same blocks, marks and notices.

    A recognizer with the same model and options gives the same predictions, bit for bit, also
    where frames are missing or are no numbers. A replay waits for its reader, so it also gives
    those predictions that a live session left out because they came too late (policy
    "latest"). A session that was broken off has no prediction of its unfinished hop, and nor has
    its replay. Only a budget of processor time makes a session's own smoothing differ: it saw
    fewer windows.

    Parameters
    ----------
    path : path
        The WAV file of a recording, with its sidecar beside it.
    pace : str
        As in `FileSource`; missing frames take no time.

    Attributes
    ----------
    is_broken_off : bool
        Up to here the stream has not come to its end.

    Raises
    ------
    SerError
        If the recording cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str], pace: Pace = "fast") -> None:
        self.path = Path(path)
        self.session = read_session(path)
        self.sample_rate_hz = self.session.sample_rate_hz
        self.channels = self.session.channels
        self._audio = FileSource(path, pace)
        self.name = self._audio.name
        self._overruns = 0
        self.is_broken_off = self.session.format_version > 1

    def __enter__(self) -> Self:
        self._audio.__enter__()
        got = (self._audio.sample_rate_hz, self._audio.channels)
        wanted = (self.sample_rate_hz, self.channels)
        if got != wanted:
            self._audio.__exit__(None, None, None)
            raise SerError(
                f"{self.path}: has {got[0]} Hz x {got[1]}, the lines beside it say {wanted[0]} Hz "
                f"x {wanted[1]}; they belong to another recording"
            )
        _LOG.info("replaying %s: %s", self.path, self.session)
        return self

    def __exit__(self, *_: object) -> None:
        self._audio.__exit__(None, None, None)

    def __iter__(self) -> Iterator[Block | Notice]:
        usual_frames = 0
        for mark in read_marks(self.path):
            yield from self._blocks(usual_frames, mark.at_frame)
            if isinstance(mark, NoticeMark):
                yield Notice(mark.kind, mark.detail)
            elif isinstance(mark, StopMark):
                self._notes += (f"{self.path}: {mark.reason}; the recording ends here",)
            elif isinstance(mark, EndMark):
                self.is_broken_off = False
            elif (block := self._audio.take(mark.frames)) is not None:
                is_whole = len(block.samples) == mark.frames  # a recording may be cut short
                if is_whole and mark.crc32 not in (0, zlib.crc32(block.samples.data)):
                    seconds = mark.at_frame / self.sample_rate_hz
                    words = f"has other samples than were recorded, at {seconds:.2f} s"
                    raise SerError(f"{self.path}: {words}; hear it with --file {self.path}")
                usual_frames = mark.frames
                self._overruns += mark.overruns
                yield replace(block, missing_frames=mark.missing_frames, overruns=mark.overruns)
        yield from self._blocks(usual_frames or self.sample_rate_hz, sys.maxsize)

    @property
    def counters(self) -> SourceCounters:
        """Account of every frame of the file up to now."""
        return replace(self._audio.counters, overruns=self._overruns)

    @property
    def notes(self) -> tuple[str, ...]:
        """Damage that was met, and why the recording stopped if it did."""
        return self._audio.notes + self._notes

    @property
    def share(self) -> float | None:
        """Share of the recording that has been read, about; None before and after."""
        return self._audio.share

    def close(self) -> None:
        """End the iteration, also one that waits in another thread."""
        self._audio.close()

    def _blocks(self, frames: int, up_to_frame: int) -> Iterator[Block]:
        """Yield blocks of the usual length up to a frame, or all that are left before it."""
        while frames and (left := up_to_frame - self._audio.counters.processed) > 0:
            block = self._audio.take(min(frames, left))
            if block is None:
                return
            yield block
