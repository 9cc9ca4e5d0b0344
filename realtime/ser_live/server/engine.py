"""Many recognizers on one thread, whose network calls share runs."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal, Self

from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_live.prediction import Prediction
from ser_live.questions import Question, Work, answer, groups
from ser_live.recognizer import StreamRecognizer
from ser_live.speech import GateQuestion

BatchKind = Literal["gate", "network"]
BatchObserver = Callable[[BatchKind, int, float], None]
"""Told of each run: what ran, for how many streams, in how many seconds."""

_MEMORY_SECONDS = 2.0


@dataclass(slots=True, eq=False)
class _Job:
    """A piece of one stream, from its submission to its predictions."""

    recognizer: StreamRecognizer
    make_work: Callable[[], Work]
    result: Future[list[Prediction]]
    submitted_seconds: float
    work: Work | None = None
    reply: Any = None
    question: Question | None = None


class Engine:
    """Recognize in many streams at once.

    One thread does the work of all streams. In each round it carries every stream that has
    something to do to its next question to a network, and answers the questions that are alike in
    one run; who came meanwhile joins the next round. A stream gives the same predictions as alone.

    Parameters
    ----------
    on_batch : callable or None
        Told of each run of a network, on the engine's thread.
    """

    def __init__(self, on_batch: BatchObserver | None = None) -> None:
        self._on_batch = on_batch
        self._condition = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._closing = False
        self._load = _Load()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Finish what was submitted and end the thread; may be called again."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def is_alive(self) -> bool:
        """Whether the thread works."""
        return self._thread.is_alive()

    @property
    def busy_share(self) -> float:
        """Share of the last two seconds or so in which the thread worked, from 0 to 1."""
        return self._load.share()

    @property
    def queue_seconds(self) -> float:
        """How long the oldest piece that no round has taken up has waited; 0 if there is none."""
        with self._condition:
            oldest = self._waiting[0].submitted_seconds if self._waiting else None
        return 0.0 if oldest is None else time.monotonic() - oldest

    def process(
        self, recognizer: StreamRecognizer, samples: NDArray[Any]
    ) -> Future[list[Prediction]]:
        """Hand samples to a recognizer; the future gives what its `process` gives or raises.

        The array belongs to the engine until then. Pieces of one recognizer are done in order.
        """
        return self._submit(recognizer, lambda: recognizer.processing(samples))

    def flush(self, recognizer: StreamRecognizer) -> Future[list[Prediction]]:
        """End a recognizer's stream, as its `flush`."""
        return self._submit(recognizer, recognizer.flushing)

    def skip(self, recognizer: StreamRecognizer, samples: int) -> Future[list[Prediction]]:
        """Step over samples that nobody has, as the recognizer's `skip`."""
        return self._submit(recognizer, lambda: recognizer.skipping(samples))

    def widen(
        self, recognizer: StreamRecognizer, hops_per_prediction: int
    ) -> Future[list[Prediction]]:
        """Set the recognizer's hops per prediction, after what was submitted; gives nothing."""
        return self._submit(recognizer, lambda: _widening(recognizer, hops_per_prediction))

    def _submit(
        self, recognizer: StreamRecognizer, make_work: Callable[[], Work]
    ) -> Future[list[Prediction]]:
        job = _Job(recognizer, make_work, Future(), time.monotonic())
        with self._condition:
            if self._closing:
                raise SerError("the engine was closed; nothing more can be recognized")
            self._waiting.append(job)
            self._condition.notify()
        return job.result

    def _run(self) -> None:
        active: list[_Job] = []
        while self._take(active):
            began = time.monotonic()
            for job in active:
                _carry_on(job)
            asking = [job for job in active if job.question is not None]
            self._answer(asking)
            active = [job for job in asking if not job.result.done()]
            self._load.add(began, time.monotonic())

    def _take(self, active: list[_Job]) -> bool:
        """Add the oldest piece of each stream that is not in work; False at the end."""
        with self._condition:
            while not (self._waiting or active or self._closing):
                self._condition.wait()
            busy = {id(job.recognizer) for job in active}
            later: deque[_Job] = deque()
            for job in self._waiting:
                if id(job.recognizer) in busy:
                    later.append(job)
                else:
                    busy.add(id(job.recognizer))
                    active.append(job)
            self._waiting = later
        return bool(active)

    def _answer(self, asking: list[_Job]) -> None:
        questions = [job.question for job in asking if job.question is not None]
        for group in groups(questions):
            started = time.perf_counter()
            together = [questions[index] for index in group]
            try:
                replies = answer(together)
            except Exception as error:
                for index in group:
                    _fail(asking[index], error)
                continue
            for index, reply in zip(group, replies, strict=True):
                asking[index].reply = reply
            if self._on_batch is not None:
                kind: BatchKind = "gate" if isinstance(together[0], GateQuestion) else "network"
                self._on_batch(kind, len(group), time.perf_counter() - started)


def _carry_on(job: _Job) -> None:
    """Bring a piece to its next question, or to its end."""
    job.question = None
    if job.work is None:
        if not job.result.set_running_or_notify_cancel():
            return
        job.work = job.make_work()
    try:
        job.question = job.work.send(job.reply)
        job.reply = None
    except StopIteration as end:
        job.result.set_result(end.value)
    except Exception as error:
        job.result.set_exception(error)


def _fail(job: _Job, error: Exception) -> None:
    if job.work is not None:
        job.work.close()
    job.result.set_exception(error)


def _widening(recognizer: StreamRecognizer, hops_per_prediction: int) -> Work:
    recognizer.hops_per_prediction = hops_per_prediction
    return []
    yield  # it asks nothing


class _Load:
    """How busy a thread is: a mean over time that forgets exponentially."""

    def __init__(self) -> None:
        self._latest = (time.monotonic(), 0.0)  # when, and the share then

    def add(self, began: float, ended: float) -> None:
        """Count a busy stretch, in seconds of the monotonic clock."""
        kept = math.exp((began - ended) / _MEMORY_SECONDS)
        self._latest = (ended, self._at(began) * kept + 1.0 - kept)

    def share(self) -> float:
        """Give the mean up to now."""
        return self._at(time.monotonic())

    def _at(self, now: float) -> float:
        at, share = self._latest
        return share * math.exp(min(0.0, at - now) / _MEMORY_SECONDS)
