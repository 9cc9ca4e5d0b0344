"""One stream over a WebSocket, from its start message to the account at its end."""

import asyncio
import json
import time
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from starlette.types import Receive, Scope, Send

from ser_live.errors import SerError
from ser_live.prediction import Prediction
from ser_live.recognizer import StreamRecognizer
from ser_live.server.access import SUBPROTOCOL
from ser_live.server.hearing import FrameError, Hearing, Message
from ser_live.server.logs import logger
from ser_live.server.messages import ErrorCode, MessageError, Reason, Skip, Start, read
from ser_live.server.problems import ProblemError
from ser_live.server.settings import COUNTED_BYTES
from ser_live.server.streams import Streams

_CLOSE_CODES: dict[Reason, int] = {
    "end": 1000,
    "draining": 1001,
    "too_large": 1009,
    "internal": 1011,
    "overloaded": 1013,
    "idle": 4408,
    "too_long": 4413,
    "rate_limit": 4429,
    "slow_reader": 4430,
}
_BAD_START = 4400
_MOST_BAD_MESSAGES = 16
_BURST_SECONDS = 2.0
_AHEAD_SECONDS = 2.0
_YIELD_SECONDS = 0.05


class _GoneError(Exception):
    """The client has left."""


@dataclass(frozen=True, slots=True)
class _Ending:
    """Why a stream ends."""

    reason: Reason
    detail: str = ""


class _StopError(Exception):
    """The stream ends here."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(detail)
        self.ending = _Ending(reason, detail)


class StreamEndpoint:
    """The ASGI application behind ``/v1/stream``: each connection is a stream.

    Parameters
    ----------
    streams : Streams
        Among which they are.
    """

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a stream on, or refuse it at the handshake."""
        await receive()  # websocket.connect
        address = (scope.get("client") or ("", 0))[0]
        try:
            self._streams.require_room(address)
        except ProblemError as problem:
            return await problem.response()(scope, receive, send)
        stream = Stream(self._streams, receive, send, scope["request_id"])
        with self._streams.opened(stream, address):
            is_offered = SUBPROTOCOL in scope["subprotocols"]
            await send(
                {"type": "websocket.accept", "subprotocol": SUBPROTOCOL if is_offered else None}
            )
            await stream.run(address)


class Stream:
    """One conversation.

    It is one task that waits for a message, for the engine or for its reader, never for two of
    them: audio that waits in the engine or behind a slow reader makes the sender wait.

    Parameters
    ----------
    streams : Streams
        What all share.
    receive, send : callable
        Of the connection, which is accepted already.
    stream_id : str
        For the log.
    """

    def __init__(self, streams: Streams, receive: Receive, send: Send, stream_id: str) -> None:
        self.stream_id = stream_id
        self._streams = streams
        self._engine = streams.engine
        self._metrics = streams.metrics
        self._limits = streams.limits
        self._receive = receive
        self._send = send
        self._hearing: Hearing | None = None
        self._task: asyncio.Task[object] | None = None
        self._ending: _Ending | None = None  # wanted from outside
        self._number = 0
        self._bad_messages = 0
        self._hops = 1
        self._told_overload = False
        self._opened_at = self._charged_at = time.monotonic()
        self._waiting_since: float | None = None  # for a message
        self._sending_since: float | None = None
        self._allowance_bytes = self._burst_bytes

    async def run(self, address: str) -> None:
        """Carry on the conversation to its end, whatever that is."""
        self._task = asyncio.current_task()
        extra = {"stream_id": self.stream_id, "client": address}
        logger.info("stream opened", extra=extra)
        reason: str = "disconnect"
        try:
            ending = await self._converse()
            reason = ending.reason
            await self._end(ending)
        except (_GoneError, OSError):
            reason = "disconnect" if reason in ("disconnect", "end") else reason
        finally:
            account = self._close_account(reason)
            seconds = round(time.monotonic() - self._opened_at, 3)
            logger.info(
                "stream closed",
                extra={**extra, "reason": reason, "open_seconds": seconds, **account},
            )

    def stop(self, reason: Reason, detail: str) -> None:
        """Let it end from outside: flushed, told and closed."""
        if self._ending is not None:
            return
        self._ending = _Ending(reason, detail)
        is_stuck = reason == "slow_reader" and self._sending_since is not None
        if self._task is not None and (is_stuck or self._waiting_since is not None):
            self._task.cancel()

    def check(self, now: float) -> None:
        """Stop it if it has overrun a limit of time."""
        limits, since = self._limits, self._opened_at
        if self._sending_since is not None and now - self._sending_since > limits.unsent_seconds:
            self._ending = None  # whatever it was, this comes first
            took = f"nothing was read for {limits.unsent_seconds:g} s"
            self.stop("slow_reader", f"{took}; read what the server sends")
        elif self._waiting_since is None:
            return
        elif self._hearing is None and now - since > limits.start_seconds:
            wanted = f"wanted a start message within {limits.start_seconds:g} s"
            self.stop("idle", f"nothing has started; {wanted}")
        elif now - self._waiting_since > limits.idle_seconds:
            self.stop("idle", f"nothing came for {limits.idle_seconds:g} s; send audio or skip")
        elif now - since > limits.max_seconds:
            self.stop("too_long", self._too_long)

    async def _converse(self) -> _Ending:
        try:
            hearing = await self._start()
            while True:
                await self._take(hearing, await self._next())
        except _StopError as stop:
            return stop.ending
        except SerError as error:
            return self._failed(error)

    async def _start(self) -> Hearing:
        message = await self._next()
        text = message.get("text")
        if text is None:
            raise _StopError("wrong_order", "audio came first, wanted the start message before it")
        try:
            start = read(text)
            if not isinstance(start, Start):
                raise _StopError("wrong_order", f"{start.type!r} came first, wanted 'start'")
            hearing = await self._made_hearing(start)
        except MessageError as error:
            raise _StopError(error.code, str(error)) from error
        recognizer = hearing.recognizer
        card, stats = recognizer.card, recognizer.stats
        self._format = start.format
        self._hearing = hearing
        await self._tell(
            {
                "type": "started",
                "stream_id": self.stream_id,
                "model": {
                    "name": start.model or self._streams.models.default,
                    "labels": list(card.labels),
                    "licence": card.licence,
                },
                "sample_rate_hz": recognizer.sample_rate_hz,
                "hop_seconds": recognizer.hop_seconds,
                "window_seconds": 2.0 * stats.delay.window_seconds,
                "smoothing_seconds": stats.delay.smoothing_seconds,
                "delay_seconds": stats.delay.total_seconds,
                "limits": self._limits.of_a_stream(),
            }
        )
        return hearing

    async def _made_hearing(self, start: Start) -> Hearing:
        try:
            classifier = await self._streams.models.get(start.model)
        except SerError as error:
            raise _StopError("unknown_model", str(error)) from error
        try:
            recognizer = StreamRecognizer(
                classifier,
                sample_rate_hz=start.sample_rate_hz,
                channels=start.channels,
                window_seconds=start.window_seconds,
                hop_seconds=start.hop_seconds,
                smoothing_seconds=start.smoothing_seconds,
                vad=start.vad,
            )
            return Hearing(recognizer, start.labels, self._limits.max_unsent)
        except SerError as error:
            raise _StopError("bad_option", str(error)) from error

    async def _take(self, hearing: Hearing, message: Any) -> None:
        """Take one message of a stream that has started."""
        data = message.get("bytes")
        try:
            if data is None:
                await self._take_text(hearing, message["text"])
            else:
                self._metrics.received_bytes.inc(len(data))
                hearing.add(hearing.decode(data, self._format))
        except FrameError as error:
            await self._bad("bad_frame", str(error))
        except MessageError as error:
            await self._bad(error.code, str(error))
        if hearing.is_due:
            await self._adapt(hearing)
            await self._hear(hearing)
        if hearing.seconds > self._limits.max_seconds:
            raise _StopError("too_long", self._too_long)

    async def _take_text(self, hearing: Hearing, text: str) -> None:
        message = read(text)
        if isinstance(message, Start):
            await self._bad("wrong_order", "a second 'start' came, wanted audio, 'skip' or 'end'")
        elif isinstance(message, Skip):
            await self._hear(hearing, everything=True)
            predictions = await self._done(self._engine.skip(hearing.recognizer, message.samples))
            hearing.skip(message.samples)
            await self._tell_all(hearing.messages(predictions))
        else:
            raise _StopError("end")

    async def _bad(self, code: ErrorCode, detail: str) -> None:
        """Tell a mistake that the stream survives; so many of them it does not."""
        self._bad_messages += 1
        if self._bad_messages >= _MOST_BAD_MESSAGES:
            raise _StopError(
                code, f"{detail}; this was mistake number {_MOST_BAD_MESSAGES}, the last"
            )
        await self._tell_error(code, detail, fatal=False)

    async def _hear(self, hearing: Hearing, *, everything: bool = False) -> None:
        for piece in hearing.pieces(everything=everything):
            if not everything:
                await self._yield(hearing)
            predictions = await self._done(self._engine.process(hearing.recognizer, piece))
            await self._tell_all(hearing.messages(predictions))
            if self._ending is not None and not everything:
                raise self._stopped()

    async def _yield(self, hearing: Hearing) -> None:
        """Whoever sends faster than real time waits while others have to be on time."""
        while self._streams.must_yield and self._ending is None:
            if hearing.seconds < time.monotonic() - self._opened_at + _AHEAD_SECONDS:
                return
            await asyncio.sleep(_YIELD_SECONDS)

    async def _adapt(self, hearing: Hearing) -> None:
        """Follow the server's hop."""
        overload = self._streams.overload
        if overload.is_beyond_help != self._told_overload:
            self._told_overload = overload.is_beyond_help
            if self._told_overload:
                hearing.note("overload", "the server has too much to do; predictions come late")
        hops = overload.hops_per_prediction
        if hops == self._hops:
            return
        self._hops = hops
        await self._done(self._engine.widen(hearing.recognizer, hops))
        every = hops * hearing.recognizer.hop_seconds
        hearing.note("hop_changed", f"a prediction every {every:g} s, by the server's load")

    async def _end(self, ending: _Ending) -> None:
        """Answer for every sample, say why it ends, and close."""
        try:
            if ending.reason != "slow_reader":  # who reads nothing would only keep it waiting
                ending = await self._answer_for_all(ending)
        except _StopError as slow:
            ending = slow.ending
        await self._send(
            {
                "type": "websocket.close",
                "code": _CLOSE_CODES.get(ending.reason, _BAD_START),
                "reason": _short(ending.detail),
            }
        )

    async def _answer_for_all(self, ending: _Ending) -> _Ending:
        hearing = self._hearing
        if hearing is not None and ending.reason != "internal":
            try:
                await self._hear(hearing, everything=True)
                predictions = await self._done(self._engine.flush(hearing.recognizer))
                await self._tell_all(hearing.messages(predictions))
                await self._tell_all(hearing.last_messages())
            except SerError as error:
                ending = self._failed(error)
        if ending.reason not in ("end", "draining"):
            await self._tell_error(ending.reason, ending.detail, fatal=True)
        if hearing is not None:
            await self._tell({"type": "ended", "reason": ending.reason, **hearing.account()})
        return ending

    def _failed(self, error: SerError) -> _Ending:
        logger.error("recognition failed", extra={"stream_id": self.stream_id, "why": str(error)})
        return _Ending("internal", str(error))

    async def _next(self) -> Any:
        """Wait for the next message, unless the stream is to stop."""
        if self._ending is not None:
            raise self._stopped()
        self._waiting_since = time.monotonic()
        try:
            message = await self._receive()
        except asyncio.CancelledError:
            raise self._interrupted() from None
        finally:
            self._waiting_since = None
        if message["type"] == "websocket.disconnect":
            raise _GoneError
        self._charge(len(message.get("bytes") or message.get("text") or ""))
        return message

    def _stopped(self) -> _StopError:
        wanted = self._ending or _Ending("internal")
        return _StopError(wanted.reason, wanted.detail)

    def _interrupted(self) -> BaseException:
        """Tell a stop of ours from a cancellation by somebody else."""
        if self._ending is None or self._task is None:
            return asyncio.CancelledError()
        self._task.uncancel()
        return self._stopped()

    def _charge(self, size: int) -> None:
        limits, now = self._limits, time.monotonic()
        if size > limits.max_frame_bytes:
            raise _StopError(
                "too_large",
                f"a message of {size} bytes came, wanted at most {limits.max_frame_bytes}",
            )
        earned = (now - self._charged_at) * limits.max_bytes_per_second
        self._charged_at = now
        self._allowance_bytes = min(self._burst_bytes, self._allowance_bytes + earned)
        self._allowance_bytes -= max(size, COUNTED_BYTES)
        if self._allowance_bytes < 0:
            raise _StopError(
                "rate_limit",
                f"too much came at once, wanted at most {limits.max_bytes_per_second} bytes per "
                f"second (a message counts as {COUNTED_BYTES} at least); send slower",
            )

    @property
    def _burst_bytes(self) -> float:
        limits = self._limits
        return _BURST_SECONDS * limits.max_bytes_per_second + limits.max_frame_bytes

    @property
    def _too_long(self) -> str:
        return f"a stream lasts {self._limits.max_seconds:g} s at most; open another one"

    async def _done(self, future: "Future[list[Prediction]]") -> list[Prediction]:
        return await asyncio.wrap_future(future)

    async def _tell_all(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if message["type"] == "prediction":
                lag: Any = message["lag_seconds"]
                self._metrics.count_prediction(str(message["state"]), lag)
            await self._tell(message)

    async def _tell_error(self, code: Reason, detail: str, *, fatal: bool) -> None:
        self._metrics.errors.labels(code).inc()
        await self._tell({"type": "error", "code": code, "detail": detail, "fatal": fatal})

    async def _tell(self, message: Message) -> None:
        message["number"] = self._number
        self._number += 1
        self._sending_since = time.monotonic()
        try:
            await self._send({"type": "websocket.send", "text": json.dumps(message)})
        except asyncio.CancelledError:
            raise self._interrupted() from None
        finally:
            self._sending_since = None

    def _close_account(self, reason: str) -> Message:
        """Count what is over."""
        self._metrics.streams.labels(reason).inc()
        if self._hearing is None:
            return {}
        account = self._hearing.account()
        rate_hz = self._hearing.recognizer.sample_rate_hz
        self._metrics.heard_seconds.inc(self._hearing.processed_samples / rate_hz)
        if dropped := account["dropped_samples"]:
            self._metrics.dropped_samples.labels(reason).inc(float(str(dropped)))
        return account


def _short(text: str) -> str:
    """Cut what does not fit into a close frame."""
    return text.encode()[:120].decode(errors="ignore")
