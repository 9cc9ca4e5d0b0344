"""``/v1/recognize``: a whole recording at once, with the messages that a stream would give."""

import asyncio
import io
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import Query, Request
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from ser_live.engine.segments import Segment
from ser_live.engine.utterances import Utterance
from ser_live.errors import SerError
from ser_live.events import EventKind
from ser_live.prediction import Prediction
from ser_live.server.messages import Message, SessionOptions, mirrored
from ser_live.server.problems import ProblemError
from ser_live.server.recognition_session import RecognitionSession
from ser_live.server.settings import Limits
from ser_live.server.streams import Client, Streams, counted
from ser_live.sources.audio_reader import WANTED, AudioReader
from ser_live.text import quoted

_SLOWEST_BYTES_PER_SECOND = 50_000  # else a body that drips would keep its slot for ever
_BLOCK_VALUES = 1 << 20
_MOST_PREDICTIONS = 200_000
_FORMATS = f"{WANTED} as the whole body"
_KINDS = ("prediction", "segment", "utterance", "event")


RecordedPrediction = mirrored("RecordedPrediction", Prediction, BaseModel)
RecordedSegment = mirrored("RecordedSegment", Segment, BaseModel)
RecordedUtterance = mirrored("RecordedUtterance", Utterance, BaseModel)


class RecordedEvent(BaseModel):
    """Event, as on a stream."""

    type: Literal["event"]
    event: EventKind
    at_seconds: float
    detail: str


class Recognition(BaseModel):
    """Everything that was recognized in a recording."""

    model: str
    sample_rate_hz: int
    channels: int
    seconds: float
    predictions: list[RecordedPrediction]  # type: ignore[valid-type]
    segments: list[RecordedSegment]  # type: ignore[valid-type]
    utterances: list[RecordedUtterance] = []  # type: ignore[valid-type]
    """Only where the query asks for them."""
    events: list[RecordedEvent]
    notes: list[str]
    """Damage of the file that was met."""


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
        self._slots = asyncio.Semaphore(streams.limits.max_uploads)
        self._tokens: Counter[str | None] = Counter()

    async def recognize(
        self, request: Request, options: Annotated[SessionOptions, Query()]
    ) -> Response:
        """Take an audio file as the body; give predictions, segments and events of all of it."""
        self._streams.require_room()
        # Refused, not queued: a queue of uploads would only fill the memory.
        if self._slots.locked():
            detail = f"{self._limits.max_uploads} recordings are in work, which is all; try later"
            raise ProblemError(503, detail, {"Retry-After": "5"}, "uploads")
        client = self._streams.client(request.scope)
        name, most = client.token_name, client.limits.max_uploads
        if name is not None and self._tokens[name] >= most:
            detail = f"{most} recordings with this token are in work, which is all; try later"
            raise ProblemError(503, detail, {"Retry-After": "5"}, "token_uploads")
        async with self._slots:
            with self._streams.metrics.uploads_open.track_inprogress(), counted(self._tokens, name):
                return await self._recognize(request, options, client)

    async def _recognize(
        self, request: Request, options: SessionOptions, client: Client
    ) -> Response:
        # Messages are kept as text, not as records: a long recording has a hundred thousand.
        reader = AudioReader(await self._body(request, client.limits), "the body")
        try:
            await asyncio.to_thread(reader.__enter__)
        except SerError as error:
            raise ProblemError(415, str(error)) from error
        # Not closed here: a request that is cancelled may leave a thread that still reads.
        session = await self._session(reader, options)
        kinds = [kind for kind in _KINDS if kind != "utterance" or options.utterances]
        told = {kind: list[str]() for kind in kinds}
        async for message in self._messages(request, reader, session, client):
            kind = str(message["type"])
            if kind == "prediction":
                message["lag_seconds"] = None  # it means nothing here
                self._streams.metrics.count_prediction(str(message["state"]), None)
            told[kind].append(json.dumps(message))
            if len(told["prediction"]) > _MOST_PREDICTIONS:
                detail = (
                    f"hop_seconds is {session.recognizer.hop_seconds:g}, which gives more than "
                    f"{_MOST_PREDICTIONS} predictions; widen it, or send the recording in parts"
                )
                raise ProblemError(422, detail)
        self._streams.metrics.recordings.inc()
        head = {
            "model": options.model or self._streams.models.default,
            "sample_rate_hz": reader.sample_rate_hz,
            "channels": reader.channels,
            "seconds": session.seconds,
            "notes": reader.notes,
        }
        # Items are JSON already; to parse and write them again would hold the streams up.
        lists = (f'"{kind}s": [{", ".join(items)}]' for kind, items in told.items())
        return Response(
            f"{json.dumps(head)[:-1]}, {', '.join(lists)}}}", media_type="application/json"
        )

    async def _body(self, request: Request, limits: Limits) -> io.BytesIO:
        """Read the whole body into memory, and nowhere else."""
        most, patience = limits.max_upload_bytes, limits.idle_seconds
        too_large = ProblemError(413, f"the recording is too large, wanted at most {most} bytes")
        declared = request.headers.get("content-length", "")
        # The header is only a hint: the loop counts what really comes.
        if declared.isdecimal() and int(declared[:20]) > most:
            raise too_large
        if request.headers.get("content-type", "").startswith("multipart/"):
            raise ProblemError(415, f"a form came; {_FORMATS} (curl --data-binary @FILE)")
        # What unpacks to a thousand times its size is not unpacked; FLAC does more for audio.
        if (coding := request.headers.get("content-encoding", "identity")) != "identity":
            detail = f"Content-Encoding is {quoted(coding)}; {_FORMATS}, without it; FLAC is small"
            raise ProblemError(415, detail, {"Accept-Encoding": "identity"}, "content_encoding")
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

    async def _session(self, reader: AudioReader, options: SessionOptions) -> RecognitionSession:
        streams = self._streams
        try:
            classifier = await streams.models.get(options.model)
        except SerError as error:
            raise ProblemError(404, str(error), code="unknown_model") from error
        form = (reader.sample_rate_hz, reader.channels)
        try:
            return RecognitionSession(streams.engine, classifier, options, *form, is_recording=True)
        except SerError as error:
            raise ProblemError(422, str(error)) from error

    async def _messages(
        self, request: Request, reader: AudioReader, session: RecognitionSession, client: Client
    ) -> AsyncIterator[Message]:
        frames = _BLOCK_VALUES // reader.channels
        while True:
            try:
                # Decoding takes long enough to hold all streams up.
                samples = await asyncio.to_thread(reader.read, frames)
                session.add(samples)
            except SerError as error:
                raise ProblemError(422 if reader.frames else 400, str(error)) from error
            if not len(samples):
                break
            if session.seconds > (most := client.limits.max_seconds):
                detail = f"the recording is longer than {most:g} s; send it in parts"
                raise ProblemError(413, detail, code="too_long")
            while session.is_due:
                # Between two pieces, so that a long recording gives way within a second.
                await self._wait_for_turn(request)
                for message in session.messages(await session.recognize_piece()):
                    yield message
        async for message in session.flush():
            yield message
        self._streams.metrics.count_heard(session.seconds, client.token_name)

    async def _wait_for_turn(self, request: Request) -> None:
        """Let the streams go first."""
        if await request.is_disconnected():
            raise ProblemError(400, "the client has left")
        try:
            async with asyncio.timeout(self._limits.idle_seconds):
                await self._streams.overload.has_time.wait()
        except TimeoutError as error:
            detail = "the streams leave no time for recordings; try again later"
            raise ProblemError(503, detail, {"Retry-After": "60"}, "overloaded") from error
