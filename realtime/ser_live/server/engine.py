"""Many recognizers at once, whose network calls share runs."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal, Self

from numpy.typing import NDArray

from ser_live.engine.channels import Recognizer
from ser_live.engine.inference import InferenceRequest, Steps, batchable, run_batch
from ser_live.engine.speech_gate import GateRequest
from ser_live.errors import SerError
from ser_live.prediction import Prediction

BatchKind = Literal["gate", "network"]
BatchObserver = Callable[[BatchKind, int, float], None]
"""Told of each run: what ran, for how many streams, in how many seconds."""

# So long may a patient request wait for live pieces, which count as coming for so long.
_PATIENCE_SECONDS = 1.0
# Long enough to even out single batches, short enough to see a peak while it lasts.
_MEMORY_SECONDS = 2.0


# Jobs are compared by identity: they hold arrays, which have no truth value.
@dataclass(slots=True, eq=False)
class _Job:
    """A piece of one stream, from its submission to its predictions."""

    recognizer: Recognizer
    make_steps: Callable[[], Steps]
    result: Future[list[Prediction]]
    submitted_seconds: float
    is_patient: bool
    """It waits while others, which are not, have something to do."""
    steps: Steps | None = None
    request: InferenceRequest | None = None
    output: Any = None
    failure: Exception | None = None
    """Instead of an output."""
    requested_at: float = 0.0
    """When the request was made, by the performance counter."""
    run_seconds: float = 0.0
    """Duration of the run that gave the output."""


class Engine:
    """Recognize in many streams at once.

    Two threads do the work of all streams: one advances each stream that has something to do to
    its next inference request, the other runs the networks, for all waiting requests of one kind
    in one batch. Networks run without Python's lock, so both cores of a small machine have
    something to do. A stream gives the same predictions as alone.

    Live pieces go before patient ones, those of recordings: while any is in work no run of a
    patient one begins, unless that has waited for a second; and where live ones come, one patient
    piece is in work at a time.

    Parameters
    ----------
    on_batch : callable or None
        Told of each run of a network, on the thread that runs it.
    """

    def __init__(self, on_batch: BatchObserver | None = None) -> None:
        self._on_batch = on_batch
        # One lock, two conditions: each thread is woken by the other and by nothing else.
        lock = threading.Lock()
        self._something_to_do = threading.Condition(lock)
        self._something_requested = threading.Condition(lock)
        self._waiting: deque[_Job] = deque()
        self._done: list[_Job] = []
        self._requested: list[_Job] = []
        self._live = 0  # pieces that were submitted and have no result
        self._live_seconds = -math.inf  # when the latest of them came
        self._closing = False
        self._finished = False
        self._advancing, self._running = _Load(), _Load()
        self._threads = (
            threading.Thread(target=self._advance, name="engine", daemon=True),
            threading.Thread(target=self._run_networks, name="networks", daemon=True),
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Finish what was submitted and end the threads; may be called again."""
        with self._something_to_do:
            self._closing = True
            self._something_to_do.notify()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    @property
    def is_alive(self) -> bool:
        """True while both threads work."""
        return all(thread.is_alive() for thread in self._threads)

    @property
    def busy_share(self) -> float:
        """Share of the last two seconds or so in which the busier thread worked, from 0 to 1."""
        return max(self._advancing.share(), self._running.share())

    @property
    def queue_seconds(self) -> float:
        """Age of the oldest live piece that was not taken up; 0 if there is none."""
        with self._something_to_do:
            live = (job.submitted_seconds for job in self._waiting if not job.is_patient)
            oldest = next(live, None)
        return 0.0 if oldest is None else time.monotonic() - oldest

    def process(
        self, recognizer: Recognizer, samples: NDArray[Any], *, is_patient: bool = False
    ) -> Future[list[Prediction]]:
        """Hand samples to a recognizer; the future gives what its `process` gives or raises.

        The array belongs to the engine until then. Pieces of one recognizer are done in order.
        """
        return self._submit(recognizer, lambda: recognizer.process_steps(samples), is_patient)

    def flush(
        self, recognizer: Recognizer, *, is_patient: bool = False
    ) -> Future[list[Prediction]]:
        """End a recognizer's stream, as its `flush`."""
        return self._submit(recognizer, recognizer.flush_steps, is_patient)

    def skip(self, recognizer: Recognizer, samples: int) -> Future[list[Prediction]]:
        """Step over samples that are missing, as the recognizer's `skip`."""
        return self._submit(recognizer, lambda: recognizer.skip_steps(samples))

    def widen(self, recognizer: Recognizer, hops_per_prediction: int) -> Future[list[Prediction]]:
        """Set the recognizer's hops per prediction, after what was submitted; gives nothing."""
        return self._submit(recognizer, lambda: _widening(recognizer, hops_per_prediction))

    def _submit(
        self, recognizer: Recognizer, make_steps: Callable[[], Steps], is_patient: bool = False
    ) -> Future[list[Prediction]]:
        job = _Job(recognizer, make_steps, Future(), time.monotonic(), is_patient)
        with self._something_to_do:
            if self._closing:
                raise SerError("the engine was closed; nothing more can be recognized")
            self._waiting.append(job)
            if not is_patient:
                self._live += 1
                self._live_seconds = time.perf_counter()
            self._something_to_do.notify()
        return job.result

    def _advance(self) -> None:
        """Advance streams from request to request: the first thread."""
        # By id: a job keeps its recognizer alive for as long as that stands here.
        in_work: dict[int, bool] = {}  # and whether its job is patient
        while ready := self._take(in_work):
            began = time.monotonic()
            for job in ready:
                _advance_job(job)
            # A job without a request has its result: the next piece of its stream may begin.
            ended = [job for job in ready if job.request is None]
            for job in ended:
                del in_work[id(job.recognizer)]
            with self._something_requested:
                self._live -= sum(not job.is_patient for job in ended)
                self._requested += [job for job in ready if job.request is not None]
                self._something_requested.notify()
            self._advancing.add(began, time.monotonic())
        with self._something_requested:
            self._finished = True
            self._something_requested.notify()

    def _take(self, in_work: dict[int, bool]) -> list[_Job]:
        """Wait for outputs, and for the oldest piece of a stream not in work; nothing: the end."""
        with self._something_to_do:
            while True:
                # Pieces of one stream are done in order, one at a time.
                ready, streams = list(self._done), {*in_work}
                for job in self._waiting:
                    if id(job.recognizer) not in streams:
                        streams.add(id(job.recognizer))
                        ready.append(job)
                if taken := self._first(ready, True in in_work.values()):
                    in_work |= {id(job.recognizer): job.is_patient for job in taken}
                    gone = set(taken)
                    self._done = [job for job in self._done if job not in gone]
                    self._waiting = deque(job for job in self._waiting if job not in gone)
                if taken or (self._closing and not in_work):
                    return taken
                self._something_to_do.wait()

    def _first(self, ready: list[_Job], has_patient: bool) -> list[_Job]:
        """Return the live pieces, or else one step of a patient one: a live one may come."""
        live = [job for job in ready if not job.is_patient]
        if live or not ready:
            return live
        # Where live ones come, they find no more than one patient piece in work.
        is_shared = time.perf_counter() - self._live_seconds < _PATIENCE_SECONDS
        begun = [job for job in ready if job.steps is not None]
        return (begun if is_shared and has_patient else ready)[:1]

    def _run_networks(self) -> None:
        """Run what can share a batch with the oldest request: the second thread."""
        while batch := self._next_batch():
            began = time.monotonic()
            self._run(batch)
            with self._something_to_do:
                self._done += batch
                self._something_to_do.notify()
            self._running.add(began, time.monotonic())

    def _next_batch(self) -> list[_Job]:
        """Wait for requests, and return those of the next run; nothing: the end."""
        with self._something_requested:
            while not (candidates := self._candidates()):
                if self._finished:
                    return []
                self._something_requested.wait(_PATIENCE_SECONDS if self._requested else None)
            # Around the oldest request, so that none waits for ever.
            batch = [candidates[index] for index in batchable(_requests(candidates))]
            self._requested = [job for job in self._requested if job not in batch]
        return batch

    def _candidates(self) -> list[_Job]:
        """Return the requests that may run now: the live ones, or patient ones if all are."""
        live = [job for job in self._requested if not job.is_patient]
        if live or not self._requested:
            return live
        waited = time.perf_counter() - self._requested[0].requested_at
        return self._requested if not self._live or waited > _PATIENCE_SECONDS else []

    def _run(self, jobs: list[_Job]) -> None:
        requests = _requests(jobs)
        started = time.perf_counter()
        try:
            outputs = run_batch(requests)
        except Exception as error:
            if len(jobs) > 1:
                # One window makes the network fail for all of its batch: find out which.
                for job in jobs:
                    self._run([job])
            else:
                jobs[0].failure = error
            return
        seconds = time.perf_counter() - started
        for job, output in zip(jobs, outputs, strict=True):
            job.output, job.run_seconds = output, seconds
        if self._on_batch is not None:
            kind: BatchKind = "gate" if isinstance(requests[0], GateRequest) else "network"
            self._on_batch(kind, len(jobs), seconds)


def _requests(jobs: list[_Job]) -> list[InferenceRequest]:
    return [job.request for job in jobs if job.request is not None]


def _advance_job(job: _Job) -> None:
    """Advance a piece to its next request, or to its end."""
    job.request = None
    if job.steps is None:
        if not job.result.set_running_or_notify_cancel():
            return
        job.steps = job.make_steps()
    if job.output is not None:
        # A stage's time is what its network took, not how long the stream stood in line for it.
        waited = time.perf_counter() - job.requested_at - job.run_seconds
        job.recognizer.leave_out_wait(waited)
    try:
        if job.failure is None:
            job.request = job.steps.send(job.output)
        else:  # the stream may have finished predictions before the request that failed
            job.request = job.steps.throw(job.failure)
        job.requested_at, job.output, job.failure = time.perf_counter(), None, None
    except StopIteration as end:
        job.result.set_result(end.value)
    except Exception as error:
        job.result.set_exception(error)


def _widening(recognizer: Recognizer, hops_per_prediction: int) -> Steps:
    recognizer.hops_per_prediction = hops_per_prediction
    return []
    yield  # it asks nothing


class _Load:
    """Busy share of a thread: a mean over time that forgets exponentially."""

    def __init__(self) -> None:
        # One tuple: another thread that reads it never sees half of a change.
        self._latest = (time.monotonic(), 0.0)  # when, and the share then

    def add(self, began: float, ended: float) -> None:
        """Count a busy stretch, in seconds of the monotonic clock."""
        kept = math.exp((began - ended) / _MEMORY_SECONDS)
        self._latest = (ended, self._at(began) * kept + 1.0 - kept)

    def share(self) -> float:
        """Return the mean up to now."""
        return self._at(time.monotonic())

    def _at(self, now: float) -> float:
        at, share = self._latest
        return share * math.exp(min(0.0, at - now) / _MEMORY_SECONDS)
