"""Inference requests of recognizers: run at once, or those of many streams in one batch."""

from collections.abc import Generator, Sequence
from typing import Any

from ser_live.engine.speech_gate import GateRequest, run_gate
from ser_live.model.classifier import WindowRequest, classify
from ser_live.prediction import Prediction

InferenceRequest = GateRequest | WindowRequest
Steps = Generator[InferenceRequest, Any, list[Prediction]]
"""A stream's work on one call: yields requests, is sent their results, returns predictions."""

# Measured: larger batches take longer than the sum of smaller ones, as they fall out of the caches.
MOST_GATES_TOGETHER = 16
MOST_WINDOWS_TOGETHER = 4


def run(steps: Steps) -> list[Prediction]:
    """Run a stream's steps, each request alone.

    Raises
    ------
    SerError
        What the steps raise. A network's failure is raised where its request was yielded.
    """
    try:
        request = next(steps)
        while True:
            try:
                (result,) = run_batch([request])
            except BaseException as error:  # an interrupt too: the stream must know of it
                request = steps.throw(error)
            else:
                request = steps.send(result)
    except StopIteration as end:
        predictions: list[Prediction] = end.value
        return predictions


def batchable(requests: Sequence[InferenceRequest]) -> list[int]:
    """Return the indices of the first request and of those that one run can take with it."""
    first = requests[0]
    if isinstance(first, WindowRequest) and not first.classifier.batch_is_bitwise:
        return [0]  # the law of the stream: its bits must not depend on its neighbours
    most = MOST_GATES_TOGETHER if isinstance(first, GateRequest) else MOST_WINDOWS_TOGETHER
    shape = _shape(first)
    return [index for index, other in enumerate(requests) if _shape(other) == shape][:most]


def run_batch(requests: Sequence[InferenceRequest]) -> list[Any]:
    """Run batchable requests together and return their results.

    Raises
    ------
    SerError
        If the network fails.
    """
    gates = [request for request in requests if isinstance(request, GateRequest)]
    if gates:
        return run_gate(gates)
    return classify([request for request in requests if isinstance(request, WindowRequest)])


def _shape(request: InferenceRequest) -> tuple[int, ...]:
    """Return what requests of one run have in common."""
    if isinstance(request, GateRequest):
        return (len(request.rows),)
    return (len(request.window), id(request.classifier))
