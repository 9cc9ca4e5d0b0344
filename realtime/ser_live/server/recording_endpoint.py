"""``/v1/recognize``: a whole recording at once, with the messages that a stream would give."""

import asyncio
import io
import json
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from typing import Annotated, Any, Literal

from fastapi import Query, Request
from pydantic import BaseModel, TypeAdapter, create_model
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from ser_live.errors import SerError
from ser_live.server import messages as stream_messages
from ser_live.server.messages import Message, SessionOptions
from ser_live.server.problems import ProblemError, failed
from ser_live.server.recognition_session import RecognitionSession
from ser_live.server.settings import Limits
from ser_live.server.streams import Client, Streams
from ser_live.sources.audio_reader import WANTED, AudioReader
from ser_live.text import quoted

LINES = "application/x-ndjson"
"""Media type of an answer that comes as it is made."""

# Else a body that drips, or an answer that is hardly read, would keep its slot for ever.
_SLOWEST_BYTES_PER_SECOND = 50_000
_BLOCK_VALUES = 1 << 17
# Of one recording in work, beside its body and its answer: decoder, recognizer, a second of audio.
_WORKING_BYTES = 16 << 20
_CHUNK_BYTES = 1 << 16
_GOODBYE_SECONDS = 1.0
_FORMATS = f"{WANTED} as the whole body"
_KINDS = ("prediction", "segment", "utterance", "event")

_Batches = AsyncGenerator[list[Message], None]
_Chunks = AsyncGenerator[bytes, None]


def _recorded(message: type[BaseModel], **others: Any) -> Any:
    """Make the model of a message as it is about a recording: without a number."""
    own = {name: (f.annotation, f) for name, f in message.model_fields.items() if name != "number"}
    name = f"Recorded{message.__name__.removesuffix('Message')}"
    return create_model(name, __doc__=message.__doc__, **own | others)


RecordedPrediction = _recorded(stream_messages.PredictionMessage)
RecordedSegment = _recorded(stream_messages.SegmentMessage)
RecordedUtterance = _recorded(stream_messages.UtteranceMessage)
RecordedEvent = _recorded(stream_messages.EventMessage)


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
    events: list[RecordedEvent]  # type: ignore[valid-type]
    notes: list[str]
    """Damage of the file that was met."""


_LINES: Any = (
    _recorded(stream_messages.Started, channels=(int, ...))
    | RecordedPrediction
    | RecordedSegment
    | RecordedUtterance
    | RecordedEvent
    | _recorded(stream_messages.Ended, notes=(list[str], ...))
    | _recorded(stream_messages.ErrorMessage, fatal=(Literal[True], ...))
)
LINE: TypeAdapter[Any] = TypeAdapter(_LINES)
"""Line of an answer in lines."""


class _Answer(StreamingResponse):
    """Answer that is made while it is sent, and given up with its client."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        chunks: Any = self.body_iterator
        async with aclosing(chunks):
            try:
                await super().__call__(scope, receive, send)
            except asyncio.CancelledError:
                # The server has waited long enough. Who reads lines is told, if it still reads.
                if self.media_type == LINES:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_GOODBYE_SECONDS):
                            last = _error_line(_cut_off())
                            await send({"type": "http.response.body", "body": last})


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
        self._in_work: list[str | None] = []  # the name of each one's token
        streams.metrics.uploads_open.set_function(lambda: len(self._in_work))
        self._held_bytes = 0

    async def recognize(
        self, request: Request, options: Annotated[SessionOptions, Query()]
    ) -> Response:
        """Take an audio file as the body; give predictions, segments and events of all of it."""
        self._streams.require_room()
        # Refused, not queued: a queue of uploads would only fill the memory.
        most = self._limits.max_uploads
        if len(self._in_work) >= most:
            detail = f"{most} of {most} recordings are in work; try later"
            raise ProblemError(503, detail, code="uploads")
        client = self._streams.client(request.scope)
        name, most = client.token_name, client.limits.max_uploads
        if name is not None and self._in_work.count(name) >= most:
            detail = f"with this token {most} of {most} recordings are in work; try later"
            raise ProblemError(503, detail, code="token_uploads")
        batches = self._batches(request, options, client)
        if LINES in request.headers.get("accept", "").lower():
            chunks, media_type = self._lines(batches, request.scope["request_id"]), LINES
        else:
            chunks, media_type = self._document(batches), "application/json"
        # What is wrong up to here is still a problem with its status.
        try:
            first = await anext(chunks)
        except asyncio.CancelledError as error:
            raise _cut_off() from error
        return _Answer(_joined(first, chunks), media_type=media_type)

    async def _lines(self, batches: _Batches, request_id: str) -> _Chunks:
        """Give records as they come; a reader who is slow holds them up."""
        clock, sent, waited = asyncio.get_running_loop().time, 0, 0.0
        try:
            async with aclosing(batches):
                async for messages in batches:
                    chunk = _line(*messages)
                    began = clock()
                    yield chunk
                    waited, sent = waited + clock() - began, sent + len(chunk)
                    most = self._limits.idle_seconds + sent / _SLOWEST_BYTES_PER_SECOND
                    if waited > most:
                        detail = f"{sent} bytes were read in {waited:.0f} s; read faster"
                        raise ProblemError(408, detail, code="slow_reader")
        except Exception as error:
            if not sent:
                raise
            problem = error if isinstance(error, ProblemError) else failed(error, request_id)
            yield _error_line(problem)

    async def _document(self, batches: _Batches) -> _Chunks:
        """Give one JSON document, which is kept until it is whole."""
        most, size = self._limits.max_answer_bytes, 0
        head: Message = {}
        # As JSON already: records are many times as large.
        told = {kind: bytearray() for kind in _KINDS}
        with self._holding() as hold:
            async with aclosing(batches):
                async for messages in batches:
                    for message in messages:
                        if (kind := str(message["type"])) not in told:
                            head |= message
                            continue
                        item = b", " + json.dumps(message).encode()
                        if (size := size + len(item)) > most:
                            detail = (
                                f"the answer is larger than {most} bytes; ask for it in lines "
                                f"(Accept: {LINES}), widen hop_seconds, or send the recording in "
                                "parts"
                            )
                            raise ProblemError(413, detail)
                        hold(len(item))
                        told[kind] += item
            model: Any = head["model"]
            names = ("sample_rate_hz", "channels", "seconds", "notes")
            yield json.dumps(
                {"model": model["name"], **{name: head[name] for name in names}}
            ).encode()[:-1]
            for kind, items in told.items():
                if items or kind != "utterance":
                    yield f', "{kind}s": ['.encode()
                    for at in range(2, len(items), _CHUNK_BYTES):
                        yield bytes(items[at : at + _CHUNK_BYTES])
                    yield b"]"
            yield b"}"

    async def _batches(self, request: Request, options: SessionOptions, client: Client) -> _Batches:
        """Give the head with the first piece's messages, those of each other, and the account."""
        metrics, name = self._streams.metrics, options.model or self._streams.models.default
        self._in_work.append(client.token_name)
        try:
            with self._holding() as hold:
                hold(_WORKING_BYTES)
                reader = AudioReader(await self._body(request, client.limits, hold), "the file")
                try:
                    await asyncio.to_thread(reader.__enter__)
                except SerError as error:
                    raise ProblemError(415, str(error)) from error
                # Not closed here: a request that is cancelled may leave a thread that still reads.
                session = await self._session(reader, options)
                started = session.started(request.scope["request_id"], name, self._limits)
                head: list[Message] = [{**started, "channels": reader.channels}]
                async for messages in self._recognized(request, reader, session, client):
                    for message in messages:
                        if message["type"] == "prediction":
                            message["lag_seconds"] = None  # it means nothing here
                            metrics.count_prediction(str(message["state"]), None)
                    # Not before: what fails at the first piece is a problem with its status.
                    yield head + messages
                    head = []
                metrics.count_heard(session.seconds, client.token_name)
                metrics.recordings.inc()
                ended = {"type": "ended", "reason": "end", **session.account()}
                yield [{**ended, "notes": list(reader.notes)}]
        finally:
            self._in_work.remove(client.token_name)

    @contextmanager
    def _holding(self) -> Iterator[Callable[[int], None]]:
        """Give a function that counts bytes which are held until the end of the context."""
        most, held = self._limits.max_recordings_bytes, 0

        def hold(size: int) -> None:
            nonlocal held
            if held + size > most:
                detail = f"the recording or its answer is too large, wanted at most {most} bytes"
                raise ProblemError(413, f"{detail} in memory; send it in parts")
            if self._held_bytes + size > most:
                detail = f"the recordings in work hold {most} bytes, which is all; try later"
                raise ProblemError(503, detail, code="memory")
            held, self._held_bytes = held + size, self._held_bytes + size

        try:
            yield hold
        finally:
            self._held_bytes -= held

    async def _body(
        self, request: Request, limits: Limits, hold: Callable[[int], None]
    ) -> io.BytesIO:
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
                    hold(len(chunk))
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
            raise ProblemError(400, f"the recording is empty; {_FORMATS}")
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

    async def _recognized(
        self, request: Request, reader: AudioReader, session: RecognitionSession, client: Client
    ) -> _Batches:
        frames = max(1, _BLOCK_VALUES // reader.channels)
        while True:
            try:
                # Decoding takes long enough to hold all streams up.
                samples = await asyncio.to_thread(reader.read, frames)
                session.add(samples)
            except SerError as error:
                status, code = (422, "bad_frame") if reader.frames else (400, "")
                raise ProblemError(status, str(error), code=code) from error
            if not len(samples):
                break
            if session.seconds > (most := client.limits.max_seconds):
                detail = f"the recording is longer than {most:g} s; send it in parts"
                raise ProblemError(413, detail, code="too_long")
            while session.is_due:
                # Between two pieces, so that a long recording gives way within a second.
                await self._wait_for_turn(request)
                yield list(session.messages(await session.recognize_piece()))
        yield [message async for message in session.flush()]

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


async def _joined(first: bytes, rest: _Chunks) -> _Chunks:
    async with aclosing(rest):
        yield first
        async for chunk in rest:
            yield chunk


def _cut_off() -> ProblemError:
    """Say why a server that stops gives a recording up; it alone cancels requests."""
    detail = "the server stops, and the recording was not done in time; send it again in a while"
    return ProblemError(503, detail, code="draining")


def _error_line(problem: ProblemError) -> bytes:
    code, detail = problem.code, problem.detail
    return _line({"type": "error", "code": code, "detail": detail, "fatal": True})


def _line(*messages: Message) -> bytes:
    return "".join(f"{json.dumps(message)}\n" for message in messages).encode()
