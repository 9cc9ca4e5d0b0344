"""One stream over a WebSocket, from its start message to the account at its end."""

import asyncio
import time
from collections.abc import Iterable
from typing import Any

from starlette.types import Receive, Scope, Send

from ser_live.engine.recognizer import StreamRecognizer
from ser_live.errors import SerError
from ser_live.server.access import SUBPROTOCOL
from ser_live.server.close_reasons import Ending, GoneError, StopError
from ser_live.server.connection import Wire
from ser_live.server.logs import logger
from ser_live.server.messages import ErrorCode, MessageError, Reason, Skip, Start, read
from ser_live.server.problems import ProblemError
from ser_live.server.stream_session import FrameError, Hearing, Message
from ser_live.server.streams import Streams

_MOST_BAD_MESSAGES = 16
_AHEAD_SECONDS = 2.0
_YIELD_SECONDS = 0.05


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
        wire = Wire(receive, send, self._streams.limits)
        stream = Stream(self._streams, wire, scope["request_id"])
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
    wire : Wire
        The connection.
    stream_id : str
        For the log.
    """

    def __init__(self, streams: Streams, wire: Wire, stream_id: str) -> None:
        self.stream_id = stream_id
        self._streams = streams
        self._engine = streams.engine
        self._metrics = streams.metrics
        self._limits = streams.limits
        self._wire = wire
        self._hearing: Hearing | None = None
        self._format = ""
        self._bad_messages = 0
        self._hops = 1
        self._told_overload = False
        self._opened_at = time.monotonic()

    async def run(self, address: str) -> None:
        """Carry on the conversation to its end, whatever that is."""
        extra = {"stream_id": self.stream_id, "client": address}
        logger.info("stream opened", extra=extra)
        reason: str = "disconnect"
        try:
            ending = await self._end(await self._converse())
            reason = ending.reason
        except (GoneError, OSError):
            pass  # it left without a word
        finally:
            account = self._close_account(reason)
            seconds = round(time.monotonic() - self._opened_at, 3)
            logger.info(
                "stream closed",
                extra={**extra, "reason": reason, "open_seconds": seconds, **account},
            )

    def stop(self, reason: Reason, detail: str) -> None:
        """Let it end from outside: flushed, told and closed."""
        self._wire.interrupt(Ending(reason, detail))

    def check(self, now: float) -> None:
        """Stop it if it has overrun a limit of time."""
        limits, wire, opened_at = self._limits, self._wire, self._opened_at
        if wire.sending_since and now - wire.sending_since > limits.unsent_seconds:
            detail = f"nothing was read for {limits.unsent_seconds:g} s; read what the server sends"
            wire.interrupt(Ending("slow_reader", detail), even_sending=True)
        elif wire.waiting_since is None:
            return  # the server's own time is nobody's fault
        elif self._hearing is None and now - opened_at > limits.start_seconds:
            wanted = f"wanted a start message within {limits.start_seconds:g} s"
            self.stop("idle", f"nothing has started; {wanted}")
        elif now - wire.waiting_since > limits.idle_seconds:
            self.stop("idle", f"nothing came for {limits.idle_seconds:g} s; send audio or skip")
        elif now - opened_at > limits.max_seconds:
            self.stop("too_long", self._too_long)

    async def _converse(self) -> Ending:
        try:
            hearing = await self._start()
            while True:
                await self._take(hearing, await self._wire.next())
        except StopError as stop:
            return stop.ending
        except (GoneError, OSError):
            raise
        except Exception as error:  # whatever it is, the client is told that it is over
            return self._failed(error)

    async def _start(self) -> Hearing:
        text = (await self._wire.next()).get("text")
        if text is None:
            raise StopError("wrong_order", "audio came first, wanted the start message before it")
        try:
            start = read(text)
        except MessageError as error:
            raise StopError(error.code, str(error)) from error
        if not isinstance(start, Start):
            raise StopError("wrong_order", f"{start.type!r} came first, wanted 'start'")
        hearing = await self._made_hearing(start)
        self._format = start.format
        self._hearing = hearing
        await self._wire.tell(self._started(start.model, hearing.recognizer))
        return hearing

    async def _made_hearing(self, start: Start) -> Hearing:
        try:
            classifier = await self._streams.models.get(start.model)
        except SerError as error:
            raise StopError("unknown_model", str(error)) from error
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
            raise StopError("bad_option", str(error)) from error

    def _started(self, model: str | None, recognizer: StreamRecognizer) -> Message:
        card, delay = recognizer.card, recognizer.stats.delay
        return {
            "type": "started",
            "stream_id": self.stream_id,
            "model": {
                "name": model or self._streams.models.default,
                "labels": list(card.labels),
                "licence": card.licence,
            },
            "sample_rate_hz": recognizer.sample_rate_hz,
            "hop_seconds": recognizer.hop_seconds,
            "window_seconds": 2.0 * delay.window_seconds,
            "smoothing_seconds": delay.smoothing_seconds,
            "delay_seconds": delay.total_seconds,
            "limits": self._limits.of_a_stream(),
        }

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
            raise StopError("too_long", self._too_long)

    async def _take_text(self, hearing: Hearing, text: str) -> None:
        message = read(text)
        if isinstance(message, Start):
            await self._bad("wrong_order", "a second 'start' came, wanted audio, 'skip' or 'end'")
        elif isinstance(message, Skip):
            await self._hear_all(hearing)
            skipping = self._engine.skip(hearing.recognizer, message.samples)
            predictions = await asyncio.wrap_future(skipping)
            await self._tell_all(hearing.messages(predictions))
            hearing.skip(message.samples)
            await self._tell_all(hearing.messages([]))
        else:
            raise StopError("end")

    async def _bad(self, code: ErrorCode, detail: str) -> None:
        """Tell a mistake that the stream survives; so many of them it does not."""
        self._bad_messages += 1
        if self._bad_messages >= _MOST_BAD_MESSAGES:
            raise StopError(code, f"{detail}; it was the last of {_MOST_BAD_MESSAGES} mistakes")
        await self._tell_error(Ending(code, detail), fatal=False)

    async def _hear(self, hearing: Hearing) -> None:
        """Let the recognizer hear what is due, unless the stream is to stop."""
        for piece in hearing.pieces():
            await self._yield(hearing)
            began = time.monotonic()
            predictions = await asyncio.wrap_future(self._engine.process(hearing.recognizer, piece))
            if predictions and not self._is_ahead(hearing):
                self._streams.overload.note(time.monotonic() - began)
            await self._tell_all(hearing.messages(predictions))
            self._wire.require_no_stop()

    async def _hear_all(self, hearing: Hearing) -> None:
        for piece in hearing.pieces(everything=True):
            predictions = await asyncio.wrap_future(self._engine.process(hearing.recognizer, piece))
            await self._tell_all(hearing.messages(predictions))

    async def _yield(self, hearing: Hearing) -> None:
        """Whoever sends faster than real time waits while others have to be on time."""
        overload = self._streams.overload
        while overload.must_yield and self._is_ahead(hearing) and self._wire.ending is None:
            await asyncio.sleep(_YIELD_SECONDS)

    def _is_ahead(self, hearing: Hearing) -> bool:
        return hearing.seconds > time.monotonic() - self._opened_at + _AHEAD_SECONDS

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
        await asyncio.wrap_future(self._engine.widen(hearing.recognizer, hops))
        every = hops * hearing.recognizer.hop_seconds
        hearing.note("hop_changed", f"a prediction every {every:g} s, by the server's load")

    async def _end(self, ending: Ending) -> Ending:
        """Answer for every sample, say why it ends, and close; give what it ended with."""
        try:
            if ending.reason != "slow_reader":  # who reads nothing would only keep it waiting
                ending = await self._answer_for_all(ending)
        except StopError as slow:
            ending = slow.ending
        await self._wire.close(ending)
        return ending

    async def _answer_for_all(self, ending: Ending) -> Ending:
        hearing = self._hearing
        if hearing is not None and ending.reason != "internal":
            try:
                await self._hear_all(hearing)
                flushing = self._engine.flush(hearing.recognizer)
                predictions = await asyncio.wrap_future(flushing)
                await self._tell_all(hearing.messages(predictions))
                await self._tell_all(hearing.last_messages())
            except (StopError, GoneError, OSError):
                raise
            except Exception as error:
                ending = self._failed(error)
        if ending.reason not in ("end", "draining"):
            await self._tell_error(ending, fatal=True)
        if hearing is not None:
            ended = {"type": "ended", "reason": ending.reason, **hearing.account()}
            await self._wire.tell(ended)
        return ending

    def _failed(self, error: Exception) -> Ending:
        extra = {"stream_id": self.stream_id, "why": str(error)}
        logger.error("recognition failed", extra=extra, exc_info=error)
        return Ending(
            "internal", f"recognition failed; the server's log tells more under {self.stream_id}"
        )

    @property
    def _too_long(self) -> str:
        return f"a stream lasts {self._limits.max_seconds:g} s at most; open another one"

    async def _tell_all(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if message["type"] == "prediction":
                lag: Any = message["lag_seconds"]
                self._metrics.count_prediction(str(message["state"]), lag)
            await self._wire.tell(message)

    async def _tell_error(self, ending: Ending, *, fatal: bool) -> None:
        code, detail = ending.reason, ending.detail
        self._metrics.errors.labels(code).inc()
        await self._wire.tell({"type": "error", "code": code, "detail": detail, "fatal": fatal})

    def _close_account(self, reason: str) -> Message:
        """Count what is over."""
        self._metrics.streams.labels(reason).inc()
        if self._hearing is None:
            return {}
        account = self._hearing.account()
        rate_hz = self._hearing.recognizer.sample_rate_hz
        self._metrics.heard_seconds.inc(self._hearing.processed_samples / rate_hz)
        if self._hearing.lost_samples:
            self._metrics.dropped_samples.labels(reason).inc(self._hearing.lost_samples)
        return account
