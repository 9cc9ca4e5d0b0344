"""A live stream to a server: for asyncio, and for programs without."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any, Self

from ser_live.client.address import Address
from ser_live.client.base_stream import END_MESSAGE, BaseStream, Link, Samples, skip_message
from ser_live.client.messages import Item, ServerError, refused, unreachable
from ser_live.errors import SerError
from ser_live.stream_protocol import BAD_START, CLOSE_CODES
from ser_live.text import sanitize

# What a close frame says, where no error message came through before it.
_CLOSE_REASONS = {code: reason for reason, code in CLOSE_CODES.items() if reason != "end"} | {
    1008: "policy",
    BAD_START: "bad_message",
}


class AsyncStream(BaseStream):
    """A stream to a server under asyncio: ``async with``, `send`, ``async for``.

    One task may send while another one receives.

    >>> import asyncio
    >>> from ser_live.client import AsyncStream
    >>> async def main():
    ...     async with AsyncStream(server, sample_rate_hz=16000) as stream:
    ...         async def speak():
    ...             for block in blocks:
    ...                 await stream.send(block)
    ...             await stream.end()
    ...         speaking = asyncio.create_task(speak())
    ...         count = 0
    ...         async for item in stream:
    ...             count += 1
    ...         await speaking
    ...         return count
    >>> asyncio.run(main()) > 10
    True

    Parameters
    ----------
    server : str
        The address that ``ser-serve`` printed.
    sample_rate_hz, channels : int
        Of the samples to come; 16000 and 1.
    format : str
        "s16le" (the default) for int16, "f32le" for floats in [-1, 1]; "mulaw" and others of
        `ser_live.sources.SampleFormat` for bytes.
    model : str or None
        A name of the server's models; None: its default.
    hop_seconds, window_seconds, smoothing_seconds, vad, prior
        As in `ser_live.StreamRecognizer`.
    labels : sequence of str or None
        Send the probabilities of these alone.
    utterances : bool or str
        Also give each `Utterance`, as in `ser_live.listen`.
    use_channels : str
        "mix" (the default), "split", "left", "right" or "1,3": channels apart, as in
        `ser_live.listen`.
    token : str or None
        Where the server wants one, and the address does not hold it.
    timeout_seconds : float
        For the server to answer at the beginning; 10.
    reconnect_seconds : float
        For how long to try to connect again where the connection is lost or the server stops; 0,
        the default: not at all. The clock goes on; an `Event` of kind "gap" tells what was sent
        and not answered. An open `Segment` is not told; `ended` is the account of the last
        connection, to which everything before it was skipped.

    Raises
    ------
    ServerError
        On entering, when the server refuses; when sending or iterating, when it ends the
        stream. One that is not fatal may be caught, and the iteration goes on.
    SerError
        If no server answers at the address, or the samples are not those that were announced.
    """

    async def __aenter__(self) -> Self:
        self._lock = asyncio.Lock()
        self._links.append(await self._open())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._links[-1].connection.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        while not self._is_over:
            link = self._links[0]
            try:
                with _translated_errors(self._address):
                    text = await link.connection.recv()
            except ServerError as error:
                await self._reopen(link, error)
                del self._links[0]
            else:
                if item := self._read(text):
                    return item
        raise StopAsyncIteration

    async def send(self, samples: Samples) -> None:
        """Send samples, of shape (n,) or (n, channels), or the bytes of them.

        It waits while the server is busy, and where it would send more per second than the
        server allows: a file may be sent as fast as this takes it.
        """
        for frame, wait_seconds in self._frames(samples):
            if wait_seconds:
                await asyncio.sleep(wait_seconds)
            await self._say(frame, len(frame) // self._frame_bytes)

    async def skip(self, samples: int) -> None:
        """Send that so many samples per channel were lost: the stream's clock goes on."""
        await self._say(skip_message(samples), samples)

    async def end(self) -> None:
        """Send that no more comes: what is due follows, then the iteration ends."""
        self._has_ended = True
        await self._say(END_MESSAGE)

    async def _say(self, message: str | bytes, samples: int = 0) -> None:
        """Send samples, or something else, on a new connection where the last one is lost."""
        link = self._links[-1]
        try:
            with _translated_errors(self._address):
                for one in self._due(link, message):
                    await link.connection.send(one)
        except ServerError as error:
            await self._reopen(link, error)
            if not self._has_ended:
                await self._say(message, samples)
        else:
            link.samples += samples
            self._sent_samples += samples

    async def _open(self) -> Link:
        with _translated_errors(self._address):
            from websockets.asyncio.client import connect  # noqa: PLC0415 - slow to load

            connection = await connect(self._address.stream_url, **self._connecting())
            # Without an answer to its start message the stream is of no use: close it at once.
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    await connection.send(self._start_message())
                    self._begin(await connection.recv())
            except BaseException:
                await connection.close()
                raise
        return Link(connection)

    async def _reopen(self, lost: Link, error: SerError) -> None:
        """Connect in place of a connection that was lost, unless that is done already."""
        began = time.monotonic()
        async with self._lock:
            if self._links[-1] is not lost:
                return
            while self._links[-1] is lost:
                await asyncio.sleep(self._pause_seconds(error, began))
                try:
                    self._links.append(await self._open())
                except SerError as failed:
                    error = failed
        if self._has_ended:  # what was said of it over there may not have come
            await self._say(END_MESSAGE)


class Stream(BaseStream):
    """A stream to a server for programs without asyncio: ``with``, `send`, ``for``.

    Parameters and errors are those of `AsyncStream`. `send` does not wait for answers: ask for
    those that have come with `received`, or iterate in another thread.
    """

    def __enter__(self) -> Self:
        self._lock = threading.Lock()
        self._links.append(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self._links[-1].connection.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        item = self._next(None)
        if item is None:
            raise StopIteration
        return item

    def received(self) -> Iterator[Item]:
        """Return what has come up to now, without waiting for more."""
        with contextlib.suppress(TimeoutError):
            while (item := self._next(0.0)) is not None:
                yield item

    def send(self, samples: Samples) -> None:
        """Send samples; see `AsyncStream.send`."""
        for frame, wait_seconds in self._frames(samples):
            if wait_seconds:
                time.sleep(wait_seconds)
            self._say(frame, len(frame) // self._frame_bytes)

    def skip(self, samples: int) -> None:
        """Send that so many samples per channel were lost: the stream's clock goes on."""
        self._say(skip_message(samples), samples)

    def end(self) -> None:
        """Send that no more comes: what is due follows, then the iteration ends."""
        self._has_ended = True
        self._say(END_MESSAGE)

    def _next(self, timeout_seconds: float | None) -> Item | None:
        while not self._is_over:
            link = self._links[0]
            try:
                with _translated_errors(self._address, waits=timeout_seconds is None):
                    text = link.connection.recv(timeout_seconds)
            except ServerError as error:
                self._reopen(link, error)
                del self._links[0]
            else:
                if item := self._read(text):
                    return item
        return None

    def _say(self, message: str | bytes, samples: int = 0) -> None:
        """Send samples, or something else, on a new connection where the last one is lost."""
        link = self._links[-1]
        try:
            with _translated_errors(self._address):
                for one in self._due(link, message):
                    link.connection.send(one)
        except ServerError as error:
            self._reopen(link, error)
            if not self._has_ended:
                self._say(message, samples)
        else:
            link.samples += samples
            self._sent_samples += samples

    def _open(self) -> Link:
        with _translated_errors(self._address), contextlib.ExitStack() as closing:
            from websockets.sync.client import connect  # noqa: PLC0415 - slow to load

            opening = connect(self._address.stream_url, **self._connecting())
            connection = closing.enter_context(opening)
            connection.send(self._start_message())
            self._begin(connection.recv(self._timeout_seconds))
            closing.pop_all()  # from here on `__exit__` closes it
        return Link(connection)

    def _reopen(self, lost: Link, error: SerError) -> None:
        """Connect in place of a connection that was lost, unless that is done already."""
        began = time.monotonic()
        with self._lock:
            if self._links[-1] is not lost:
                return
            while self._links[-1] is lost:
                time.sleep(self._pause_seconds(error, began))
                try:
                    self._links.append(self._open())
                except SerError as failed:
                    error = failed
        if self._has_ended:  # what was said of it over there may not have come
            self._say(END_MESSAGE)


@contextlib.contextmanager
def _translated_errors(address: Address, waits: bool = True) -> Iterator[None]:
    """Turn errors of the ``websockets`` library into a `SerError`.

    Parameters
    ----------
    address : Address
        Of the server.
    waits : bool
        The caller waits, so a TimeoutError means that the server did not answer.
    """
    try:
        from websockets import exceptions  # noqa: PLC0415 - slow to load

        yield
    except ImportError as error:
        raise SerError(
            f"a stream to a server needs websockets ({error}): pip install websockets"
        ) from error
    except exceptions.InvalidStatus as error:
        response = error.response
        raise refused(address, response.status_code, bytes(response.body or b"")) from error
    except exceptions.ConnectionClosed as error:
        raise _closed(address, error) from error
    except TimeoutError as error:
        if not waits:
            raise
        raise SerError(f"{address}: no answer in time; is that a server of ser-live?") from error
    except OSError as error:
        raise unreachable(address, error) from error
    except exceptions.WebSocketException as error:
        raise SerError(
            f"{address}: does not speak WebSocket as wanted ({sanitize(error)}); "
            "is that a server of ser-live?"
        ) from error


def _closed(address: Address, error: Any) -> ServerError:
    received = error.rcvd
    if received is None:
        return ServerError("connection_lost", f"{address}: the connection was lost")
    code = _CLOSE_REASONS.get(received.code, f"close_{received.code}")
    reason = f": {received.reason}" if received.reason else ""
    return ServerError(code, f"{address}: the server closed the stream{reason}")
