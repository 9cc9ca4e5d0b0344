"""A whole recording at once: what a stream would have said of it."""

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import soundfile
from fastapi import Query, Request
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from ser_live.engine.recognizer import StreamRecognizer
from ser_live.engine.segments import Segment
from ser_live.errors import SerError
from ser_live.events import EventKind
from ser_live.prediction import Prediction
from ser_live.server.problems import ProblemError
from ser_live.server.stream_session import Hearing, Message
from ser_live.server.streams import Streams
from ser_live.text import sanitize

_SLOWEST_BYTES_PER_SECOND = 50_000
_BLOCK_VALUES = 1 << 20
_MOST_PREDICTIONS = 200_000
_YIELD_SECONDS = 0.05
_FORMATS = "wanted WAV, FLAC, Ogg, MP3 or another format of libsndfile as the whole body"
_KINDS = {"prediction": "predictions", "segment": "segments", "event": "events"}


class RecordedEvent(BaseModel):
    """As on a stream."""

    event: EventKind
    at_seconds: float
    detail: str


class Recognition(BaseModel):
    """What was recognized in a recording."""

    model: str
    sample_rate_hz: int
    channels: int
    seconds: float
    predictions: list[Prediction]
    segments: list[Segment]
    events: list[RecordedEvent]
    notes: list[str]
    """Damage of the file that was met."""


class Options(BaseModel):
    """Of a recording; as in the start message of a stream."""

    model_config = {"extra": "forbid"}

    model: str | None = None
    hop_seconds: float = 0.25
    window_seconds: float | None = None
    smoothing_seconds: float | None = None
    vad: bool = True
    labels: list[str] | None = None


class Recordings:
    """Recognize recordings beside the streams, which go first.

    Parameters
    ----------
    streams : Streams
        With whom the engine is shared.
    """

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._limits = streams.limits
        self._count = 0

    async def recognize(self, request: Request, options: Annotated[Options, Query()]) -> Response:
        """Take an audio file as the body; give predictions, segments and events of all of it."""
        self._streams.require_room()
        with self._slot(), _opened(await self._body(request)) as file:
            hearing = await self._made_hearing(file, options)
            told = {kind: list[str]() for kind in _KINDS}
            notes: list[str] = []
            async for message in self._messages(request, file, hearing, notes):
                told[str(message.pop("type"))].append(json.dumps(message))
                self._require_few(told["prediction"], hearing)
        self._streams.metrics.recordings.inc()
        head = {
            "model": options.model or self._streams.models.default,
            "sample_rate_hz": file.samplerate,
            "channels": file.channels,
            "seconds": hearing.seconds,
            "notes": notes,
        }
        lists = (f'"{_KINDS[kind]}": [{", ".join(items)}]' for kind, items in told.items())
        return Response(
            f"{json.dumps(head)[:-1]}, {', '.join(lists)}}}", media_type="application/json"
        )

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if self._count >= self._limits.max_uploads:
            detail = f"{self._count} recordings are in work, which is all; try again later"
            raise ProblemError(503, detail, {"Retry-After": "5"})
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1

    async def _body(self, request: Request) -> io.BytesIO:
        """Read the whole body into memory, and nowhere else."""
        most, patience = self._limits.max_upload_bytes, self._limits.idle_seconds
        too_large = ProblemError(413, f"the recording is too large, wanted at most {most} bytes")
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > most:
            raise too_large
        if request.headers.get("content-type", "").startswith("multipart/"):
            raise ProblemError(415, f"a form came; {_FORMATS} (curl --data-binary @FILE)")
        body, size = io.BytesIO(), 0
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(began + patience) as deadline:
                async for chunk in request.stream():
                    size += body.write(chunk)
                    if size > most:
                        raise too_large
                    deadline.reschedule(began + patience + size / _SLOWEST_BYTES_PER_SECOND)
        except ClientDisconnect as error:
            raise ProblemError(400, "the client has left") from error
        except TimeoutError as error:
            detail = f"{size} bytes came in {patience:g} s and more; send faster"
            raise ProblemError(408, detail, {"Connection": "close"}) from error
        if not size:
            raise ProblemError(400, f"the body is empty; {_FORMATS}")
        body.seek(0)
        return body

    async def _made_hearing(self, file: Any, options: Options) -> Hearing:
        try:
            classifier = await self._streams.models.get(options.model)
        except SerError as error:
            raise ProblemError(404, str(error)) from error
        try:
            recognizer = StreamRecognizer(
                classifier,
                sample_rate_hz=file.samplerate,
                channels=file.channels,
                window_seconds=options.window_seconds,
                hop_seconds=options.hop_seconds,
                smoothing_seconds=options.smoothing_seconds,
                vad=options.vad,
            )
            return Hearing(recognizer, options.labels)
        except SerError as error:
            raise ProblemError(422, str(error)) from error

    async def _messages(
        self, request: Request, file: Any, hearing: Hearing, notes: list[str]
    ) -> AsyncIterator[Message]:
        engine, recognizer = self._streams.engine, hearing.recognizer
        while len(samples := await asyncio.to_thread(_read, file, notes)):
            try:
                hearing.add(samples)
            except SerError as error:
                raise ProblemError(422, str(error)) from error
            self._require_short(hearing.seconds)
            for piece in hearing.pieces():
                await self._yield(request)
                predictions = await asyncio.wrap_future(engine.process(recognizer, piece))
                for message in hearing.messages(predictions):
                    yield self._recorded(message)
        if not hearing.received_samples:
            raise ProblemError(400, f"the recording holds no samples; {_FORMATS}")
        rest = [engine.process(recognizer, piece) for piece in hearing.pieces(everything=True)]
        for future in (*rest, engine.flush(recognizer)):
            predictions = await asyncio.wrap_future(future)
            for message in hearing.messages(predictions):
                yield self._recorded(message)
        for message in hearing.last_messages():
            yield self._recorded(message)
        self._streams.metrics.heard_seconds.inc(hearing.seconds)

    def _recorded(self, message: Message) -> Message:
        """Leave out how late it was, which means nothing here; count it."""
        if message["type"] == "prediction":
            message["lag_seconds"] = None
            self._streams.metrics.count_prediction(str(message["state"]), None)
        return message

    async def _yield(self, request: Request) -> None:
        if await request.is_disconnected():
            raise ProblemError(400, "the client has left")
        until = time.monotonic() + self._limits.idle_seconds
        while self._streams.overload.must_yield:
            if time.monotonic() > until:
                detail = "the streams leave no time for recordings; try again later"
                raise ProblemError(503, detail, {"Retry-After": "60"})
            await asyncio.sleep(_YIELD_SECONDS)

    def _require_short(self, seconds: float) -> None:
        if seconds > self._limits.max_seconds:
            most = self._limits.max_seconds
            raise ProblemError(413, f"the recording is longer than {most:g} s; send it in parts")

    def _require_few(self, predictions: Sequence[str], hearing: Hearing) -> None:
        if len(predictions) > _MOST_PREDICTIONS:
            raise ProblemError(
                422,
                f"hop_seconds is {hearing.recognizer.hop_seconds:g}, which gives more than "
                f"{_MOST_PREDICTIONS} predictions; widen it, or send the recording in parts",
            )


@contextmanager
def _opened(body: io.BytesIO) -> Iterator[Any]:
    try:
        file = soundfile.SoundFile(body)
    except (soundfile.SoundFileError, TypeError) as error:
        reason = sanitize(getattr(error, "error_string", error)).rstrip(".")
        raise ProblemError(415, f"no audio that can be read ({reason}); {_FORMATS}") from error
    with file:
        yield file


def _read(file: Any, notes: list[str]) -> Any:
    """Read on; what cannot be read ends the recording, with a note."""
    try:
        return file.read(_BLOCK_VALUES // file.channels, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        reason = sanitize(getattr(error, "error_string", error)).rstrip(".")
        notes.append(f"the file is damaged ({reason})")
        return ()
