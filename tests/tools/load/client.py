"""A client in real time: it sends a voice block by block, and notes what comes back and when."""

import asyncio
import contextlib
import json
import math
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from ser_live.bench.measurement import continuous_speech
from ser_live.client import AsyncStream, Ended, Item, ServerError
from ser_live.client.address import Address
from ser_live.engine.recognizer import StreamRecognizer
from ser_live.engine.resample import require_rate
from ser_live.errors import SerError
from ser_live.events import Event
from ser_live.model.catalog import find_model
from ser_live.model.classifier import OnnxClassifier
from ser_live.prediction import Prediction
from ser_live.testing import demo_voice

_UNSENT_SECONDS = 10.0
_END_SECONDS = 30.0
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


@dataclass(frozen=True, slots=True)
class Voice:
    """Speech in blocks, without an end, and the stream that takes it."""

    sample_rate_hz: int
    block_ms: int
    hop_ms: int
    """From one prediction to the next."""
    model: str | None
    """Name of a model of the server; None: its default."""
    samples: NDArray[np.int16]
    """Shape (blocks, samples of a block); after the last block comes the first."""

    def block(self, number: int) -> bytes:
        """Return the bytes of a block."""
        return bytes(self.samples[number % len(self.samples)].tobytes())

    def start_message(self) -> dict[str, Any]:
        """Return the first message of a stream, for clients that write frames."""
        told = {"sample_rate_hz": self.sample_rate_hz, "channels": 1, "format": "s16le"}
        named = {} if self.model is None else {"model": self.model}
        return {"type": "start", **told, "hop_seconds": self.hop_ms / 1000.0, **named}

    def stream(self, address: Address) -> "NumberedStream":
        """Return a stream to a server, which is not open yet."""
        options = self.start_message()
        del options["type"]
        return NumberedStream(str(address), token=address.token, **options)

    def reference(self, blocks: int) -> list[Prediction]:
        """Recognize so many blocks offline: the predictions that a stream of them must give."""
        model = OnnxClassifier.load(find_model(self.model))
        recognizer = StreamRecognizer(model, self.sample_rate_hz, hop_seconds=self.hop_ms / 1000.0)
        samples = self.samples.take(range(blocks), axis=0, mode="wrap").ravel()
        return recognizer.process(samples) + recognizer.flush()


def make_voice(
    sample_rate_hz: int = 16000,
    block_ms: int = 100,
    hop_ms: int = 250,
    model: str | None = None,
    is_continuous: bool = False,
) -> Voice:
    """Cut the demo voice into blocks, each a whole number of samples.

    ``is_continuous`` leaves the pauses out: no block of a stream is cheap then.
    """
    require_rate(sample_rate_hz)
    if block_ms < 1 or sample_rate_hz * block_ms % 1000:
        raise SerError(
            f"a block is {block_ms} ms, wanted a whole number of samples at {sample_rate_hz} Hz"
        )
    if is_continuous:
        voice = soxr.resample(continuous_speech(), 16000, sample_rate_hz)
    else:
        voice = demo_voice(sample_rate_hz)
    size = sample_rate_hz * block_ms // 1000
    looped = np.resize(voice, (math.ceil(voice.size / size), size))
    samples = np.clip(np.round(looped * 32768.0), -32768, 32767).astype("<i2")
    return Voice(sample_rate_hz, block_ms, hop_ms, model, samples)


def differences(got: list[Prediction], wanted: list[Prediction]) -> int:
    """Count the predictions that differ, missing and surplus ones included."""
    return sum(one != other for one, other in zip_longest(got, wanted))


@dataclass(slots=True)
class Tally:
    """Everything that happened to all clients in some time."""

    latency_seconds: list[float] = field(default_factory=list)
    """From the last sample of a hop sent to its prediction received."""
    late_seconds: list[float] = field(default_factory=list)
    """Lateness of the blocks sent, which is the fault of this tool."""
    left_out_hops: int = 0
    """Hops without a prediction."""
    events: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    """Streams that could not be opened, by the server's code."""
    lost: Counter[str] = field(default_factory=Counter)
    """Streams that ended before they should, by the server's code."""
    errors: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Recorder:
    """The tally of now, which all clients write to."""

    now: Tally = field(default_factory=Tally)

    def restart(self) -> Tally:
        """Begin a new tally and return the old one."""
        before, self.now = self.now, Tally()
        return before


class NumberedStream(AsyncStream):
    """A stream that also counts the messages whose number does not follow the one before."""

    misnumbered = 0
    _following = 1  # 'started', which came, has number 0

    def _read(self, text: str | bytes) -> Item | None:
        # The public client leaves the numbers of messages out of its records.
        number = json.loads(text)["number"]
        self.misnumbered += number != self._following
        self._following = number + 1
        return super()._read(text)


class LiveClient:
    """A stream that sends a voice in real time, as a browser does, and listens.

    Parameters
    ----------
    address : Address
        Of the server.
    voice : Voice
        Sent block by block.
    recorder : Recorder
        Takes note of everything that happens.
    first_block : int
        Place in the voice to begin at.
    """

    def __init__(
        self, address: Address, voice: Voice, recorder: Recorder, first_block: int = 0
    ) -> None:
        self.stream = voice.stream(address)
        self.is_open = False
        self.ended: Ended | None = None
        self.predictions: list[Prediction] = []
        self._voice = voice
        self._first_block = first_block
        self._recorder = recorder
        self._sent_at: list[float] = []
        self._next_index = 0
        self._is_ending = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def blocks(self) -> int:
        """Blocks sent up to now."""
        return len(self._sent_at)

    @property
    def unaccounted_samples(self) -> int:
        """Samples sent that are not in the account of the server."""
        sent: int = self.blocks * self._voice.samples.shape[1]
        return abs(sent - (self.ended.processed_samples if self.ended else 0))

    async def open(self, phase: float = 0.0) -> bool:
        """Open the stream and begin to send; False, and a note: the server refused.

        ``phase`` is the moment of the first block, see `next_due`.
        """
        try:
            await self.stream.__aenter__()
        except SerError as error:
            self._recorder.now.refused[_code(error)] += 1
            return False
        self.is_open = True
        self._tasks = [asyncio.create_task(self._send(phase)), asyncio.create_task(self._listen())]
        return True

    async def end(self) -> None:
        """Tell the server that no more comes, and wait for its account of all samples."""
        self._is_ending = True
        try:
            async with asyncio.timeout(_END_SECONDS):
                sending, listening = self._tasks
                await sending
                await self.stream.end()
                await listening
        except (TimeoutError, SerError):
            self._recorder.now.errors["no account at the end"] += 1
            self.cancel()

    def cancel(self) -> None:
        """Stop sending and listening."""
        for task in self._tasks:
            task.cancel()

    async def _send(self, phase: float) -> None:
        due_at = next_due(time.monotonic(), phase, self._voice)
        while True:
            due_at += self._voice.block_ms / 1000.0
            await asyncio.sleep(due_at - time.monotonic())
            if self._is_ending or not self.is_open:
                return
            try:
                await self.stream.send(self._voice.block(self._first_block + self.blocks))
            except SerError:  # the listening task notes why
                return
            now = time.monotonic()
            self._sent_at.append(now)
            self._recorder.now.late_seconds.append(now - due_at)
            if now - due_at > _UNSENT_SECONDS:
                self._recorder.now.errors["not taken for ten seconds"] += 1

    async def _listen(self) -> None:
        lost = None
        try:
            while self.ended is None:
                try:
                    async for item in self.stream:
                        self._note(item, time.monotonic())
                    self.ended = self.stream.ended
                    lost = self.ended.reason
                except ServerError as error:
                    if error.is_fatal:
                        raise
                    self._recorder.now.errors[error.code] += 1
        except SerError as error:
            lost = _code(error)
        finally:
            if lost is not None and not self._is_ending:
                self._recorder.now.lost[lost] += 1
            self.is_open = False
            with contextlib.suppress(SerError, OSError):
                await self.stream.__aexit__(None, None, None)

    def _note(self, item: Item, at: float) -> None:
        tally = self._recorder.now
        if isinstance(item, Event):
            tally.events[item.kind] += 1
        if not isinstance(item, Prediction):
            return
        self.predictions.append(item)
        tally.left_out_hops += item.index - self._next_index
        self._next_index = item.index + 1
        # The block with the last sample of the hop; that of a hop cut short was never sent.
        block = -(-self._voice.hop_ms * self._next_index // self._voice.block_ms) - 1
        if block < self.blocks:
            tally.latency_seconds.append(at - self._sent_at[block])


def spread_phase(number: int) -> float:
    """Return the phase of a client, so that any number of them is spread evenly over time."""
    return number * _GOLDEN % 1.0


def next_due(now: float, phase: float, voice: Voice) -> float:
    """Return the next moment of a phase: a share of the time in which blocks and hops meet."""
    cycle_seconds = math.lcm(voice.block_ms, voice.hop_ms) / 1000.0
    return (math.ceil(now / cycle_seconds - phase) + phase) * cycle_seconds


def _code(error: SerError) -> str:
    return str(getattr(error, "code", "unreachable"))
