"""``/v1/stream``: a stream over a WebSocket, from its start message to the account at its end."""

import time
from contextlib import suppress
from typing import Any

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from ser_live.errors import SerError
from ser_live.server.connection import CloseReason, Connection, GoneError, StopError
from ser_live.server.messages import Message, MessageError, Skip, Start, read
from ser_live.server.observability import logger
from ser_live.server.problems import ProblemError
from ser_live.server.recognition_session import RecognitionSession
from ser_live.server.streams import Client, Streams
from ser_live.stream_protocol import SUBPROTOCOL, ErrorCode, Reason, SampleFormat

# So many are no slips: the client does not read what it is told.
_MOST_BAD_MESSAGES = 16
# A network may hold audio back for so long, and then deliver it at once.
_AHEAD_SECONDS = 2.0


class StreamEndpoint:
    """ASGI application behind ``/v1/stream``: each connection is a stream.

    Parameters
    ----------
    streams : Streams
        Among which they are.
    """

    path = "/v1/stream"

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a stream on, or refuse it at the handshake."""
        await receive()  # websocket.connect
        client = self._streams.client(scope)
        try:
            self._streams.require_room(client)
        except ProblemError as problem:
            return await problem.response(scope)(scope, receive, send)
        connection = Connection(receive, send, client.limits)
        stream = Stream(self._streams, connection, scope["request_id"], client)
        with self._streams.opened(stream):
            # A client that offers another protocol, or none, is taken as well.
            is_offered = SUBPROTOCOL in scope["subprotocols"]
            await send(
                {"type": "websocket.accept", "subprotocol": SUBPROTOCOL if is_offered else None}
            )
            await stream.run()

    async def refuse_plain(self, request: Request) -> None:
        """Tell a request that is no WebSocket why a stream is refused, or that it is none."""
        self._streams.require_room(self._streams.client(request.scope))
        raise ProblemError(
            426,
            f"{self.path} is a WebSocket, and no upgrade to one came; ask for it as ws or wss, and "
            "let proxies on the way pass the headers Upgrade and Connection",
            {"Upgrade": "websocket", "Connection": "Upgrade"},
            "no_websocket",
        )


class Stream:
    """Conversation with one client.

    It is one task that waits for a message, for the engine or for its reader, never for two of
    them: audio that waits in the engine or behind a slow reader makes the sender wait.

    Parameters
    ----------
    streams : Streams
        What all share.
    connection : Connection
        To the client.
    stream_id : str
        For the log.
    client : Client
        Whose limits hold.
    """

    def __init__(
        self, streams: Streams, connection: Connection, stream_id: str, client: Client
    ) -> None:
        self.stream_id = stream_id
        self._streams = streams
        self._metrics = streams.metrics
        self.client, self._limits = client, client.limits
        self._connection = connection
        self._session: RecognitionSession | None = None
        self._format: SampleFormat = "s16le"
        self._bad_messages = 0
        self._hops = 1
        self._sent_overload = False
        self._opened_at = time.monotonic()

    async def run(self) -> None:
        """Carry on the conversation to its end, whatever that is."""
        extra = {"stream_id": self.stream_id, "client": self.client.address}
        if self.client.token_name is not None:
            extra["token_name"] = self.client.token_name
        logger.info("stream opened", extra=extra)
        reason: str = "disconnect"
        try:
            close_reason = await self._end(await self._converse())
            reason = close_reason.reason
        except (GoneError, OSError):
            pass  # it left without a word
        finally:
            account = self._count_end(reason)
            seconds = round(time.monotonic() - self._opened_at, 3)
            logger.info(
                "stream closed",
                extra={**extra, "reason": reason, "open_seconds": seconds, **account},
            )

    async def tell_drain(self) -> None:
        """Say that the server is going to stop, at once; before it has started: then."""
        self._note_drain()
        # Anything but waiting for the client, the stream's own task takes the note along.
        if self._session is not None and self._connection.waiting_since is not None:
            with suppress(StopError, OSError):
                for message in self._session.messages([]):
                    await self._send(message)

    def stop(self, reason: Reason, detail: str) -> None:
        """End from outside: flushed, told and closed."""
        self._connection.interrupt(CloseReason(reason, detail))

    def check(self, now: float) -> None:
        """Stop if a limit of time is overrun, at a moment of the monotonic clock."""
        limits, connection, opened_at = self._limits, self._connection, self._opened_at
        if connection.sending_since and now - connection.sending_since > limits.unsent_seconds:
            detail = f"nothing was read for {limits.unsent_seconds:g} s; read what the server sends"
            connection.interrupt(CloseReason("slow_reader", detail), even_sending=True)
        elif connection.waiting_since is None:
            return  # the server's own time is not the client's fault
        elif self._session is None and now - opened_at > limits.start_seconds:
            wanted = f"wanted a start message within {limits.start_seconds:g} s"
            self.stop("idle", f"nothing has started; {wanted}")
        elif now - connection.waiting_since > limits.idle_seconds:
            self.stop("idle", f"nothing came for {limits.idle_seconds:g} s; send audio or skip")
        elif now - opened_at > limits.max_seconds:
            self.stop("too_long", self._too_long)

    async def _converse(self) -> CloseReason:
        try:
            session = await self._start()
            while True:
                await self._take(session, await self._connection.receive())
        except StopError as stop:
            return stop.close_reason
        except (GoneError, OSError):
            raise
        except Exception as error:  # whatever it is, the client is told that it is over
            return self._failed(error)

    async def _start(self) -> RecognitionSession:
        text = (await self._connection.receive()).get("text")
        if text is None:
            raise StopError("wrong_order", "audio came first, wanted the start message before it")
        try:
            start = read(text)
        except MessageError as error:
            raise StopError(error.code, str(error)) from error
        if not isinstance(start, Start):
            raise StopError("wrong_order", f"{start.type!r} came first, wanted 'start'")
        self._format = start.format
        streams, form = self._streams, (start.sample_rate_hz, start.channels)
        try:
            classifier = await streams.models.get(start.model)
        except SerError as error:
            raise StopError("unknown_model", str(error)) from error
        try:
            session = RecognitionSession(
                streams.engine, classifier, start, *form, self._limits.max_unsent
            )
        except SerError as error:
            raise StopError("bad_option", str(error)) from error
        self._session = session
        self._note_drain()
        name = start.model or self._streams.models.default
        await self._connection.send(session.started(self.stream_id, name, self._limits))
        return session

    def _note_drain(self) -> None:
        ends_at = self._streams.drain_ends_at
        if self._session is not None and ends_at is not None:
            seconds = max(0.0, ends_at - time.monotonic())
            detail = (
                f"the server stops, and ends this stream in {seconds:.0f} s; "
                "all that comes until then is answered"
            )
            self._session.note("draining", detail)

    async def _take(self, session: RecognitionSession, message: Any) -> None:
        """Take one message of a stream that has started."""
        data = message.get("bytes")
        try:
            if data is None:
                await self._take_text(session, message["text"])
            else:
                self._metrics.received_bytes.inc(len(data))
                session.add(session.decode(data, self._format))
        except MessageError as error:
            await self._bad(error.code, str(error))
        # Also after a mistake: what came before it is answered all the same.
        if session.is_due:
            await self._adapt(session)
            await self._recognize(session)
        if session.seconds > self._limits.max_seconds:
            raise StopError("too_long", self._too_long)

    async def _take_text(self, session: RecognitionSession, text: str) -> None:
        message = read(text)
        if isinstance(message, Start):
            await self._bad("wrong_order", "a second 'start' came, wanted audio, 'skip' or 'end'")
        elif isinstance(message, Skip):
            async for answer in session.skip(message.samples):
                await self._send(answer)
        else:
            raise StopError("end")

    async def _bad(self, code: ErrorCode, detail: str) -> None:
        """Report a mistake that the stream survives; so many of them it does not."""
        self._bad_messages += 1
        if self._bad_messages >= _MOST_BAD_MESSAGES:
            raise StopError(code, f"{detail}; it was the last of {_MOST_BAD_MESSAGES} mistakes")
        await self._send_error(code, detail, fatal=False)

    async def _recognize(self, session: RecognitionSession) -> None:
        """Recognize what is due, piece by piece, unless the stream is to stop."""
        overload = self._streams.overload
        while session.is_due:
            # A client that sends faster than real time waits while others have to be on time.
            while overload.must_yield and (ahead := self._ahead_seconds(session)) > 0.0:
                await self._connection.wait(overload.has_time, ahead)
            began = time.monotonic()
            session.is_patient = self._ahead_seconds(session) > 0.0
            predictions = await session.recognize_piece()
            # Of a client that is ahead of the clock no prediction can be late.
            if predictions and not session.is_patient:
                overload.note(time.monotonic() - began)
            for message in session.messages(predictions):
                await self._send(message)
            # After the messages: what was recognized is sent, whatever ends the stream.
            self._connection.require_no_stop()

    def _ahead_seconds(self, session: RecognitionSession) -> float:
        """Return how far the client is ahead of the clock, beyond what the network may cause."""
        return session.seconds - (time.monotonic() - self._opened_at) - _AHEAD_SECONDS

    async def _adapt(self, session: RecognitionSession) -> None:
        """Follow the server's hop."""
        overload = self._streams.overload
        if overload.is_beyond_help != self._sent_overload:
            self._sent_overload = overload.is_beyond_help
            if self._sent_overload:
                session.note("overload", "the server has too much to do; predictions come late")
        if overload.hops_per_prediction != self._hops:
            self._hops = overload.hops_per_prediction
            await session.widen(self._hops)

    async def _end(self, close_reason: CloseReason) -> CloseReason:
        """Answer for every sample, say why it ends, and close; return what it ended with."""
        try:
            # A client that reads nothing would only keep the rest waiting.
            if close_reason.reason != "slow_reader":
                close_reason = await self._answer_for_all(close_reason)
        except StopError as slow:
            close_reason = slow.close_reason
        await self._connection.close(close_reason)
        return close_reason

    async def _answer_for_all(self, close_reason: CloseReason) -> CloseReason:
        session = self._session
        # What has failed would fail again.
        if session is not None and close_reason.reason != "internal":
            try:
                async for message in session.flush():
                    await self._send(message)
            except (StopError, GoneError, OSError):
                raise
            except Exception as error:
                close_reason = self._failed(error)
        # Neither of these is a mistake.
        if close_reason.reason not in ("end", "draining"):
            await self._send_error(close_reason.reason, close_reason.detail, fatal=True)
        if session is not None:
            ended = {"type": "ended", "reason": close_reason.reason, **session.account()}
            await self._connection.send(ended)
        return close_reason

    def _failed(self, error: Exception) -> CloseReason:
        extra = {"stream_id": self.stream_id, "why": str(error)}
        logger.error("recognition failed", extra=extra, exc_info=error)
        # What failed may name files of the server: the client is given the log's key alone.
        return CloseReason(
            "internal", f"recognition failed; the server's log tells more under {self.stream_id}"
        )

    @property
    def _too_long(self) -> str:
        return f"a stream lasts {self._limits.max_seconds:g} s at most; open another one"

    async def _send(self, message: Message) -> None:
        if message["type"] == "prediction":
            lag: Any = message["lag_seconds"]
            self._metrics.count_prediction(str(message["state"]), lag)
        await self._connection.send(message)

    async def _send_error(self, code: Reason, detail: str, *, fatal: bool) -> None:
        self._metrics.errors.labels(code).inc()
        await self._connection.send(
            {"type": "error", "code": code, "detail": detail, "fatal": fatal}
        )

    def _count_end(self, reason: str) -> Message:
        """Count a stream that is over, and return its account."""
        self._metrics.streams.labels(reason).inc()
        session = self._session
        if session is None:
            return {}
        rate_hz = session.recognizer.sample_rate_hz
        seconds = session.processed_samples / rate_hz
        self._metrics.count_heard(seconds, self.client.token_name)
        if session.lost_samples:
            self._metrics.dropped_samples.labels(reason).inc(session.lost_samples)
        return session.account()
