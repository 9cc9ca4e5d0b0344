"""What recognizers ask the networks: answered at once, or those of many streams together."""

from collections.abc import Generator, Sequence
from typing import Any

from ser_live.engine.speech_gate import GateQuestion, judge
from ser_live.model.classifier import WindowQuestion, classify
from ser_live.prediction import Prediction

Question = GateQuestion | WindowQuestion
Work = Generator[Question, Any, list[Prediction]]
"""A piece of a stream on its way: it yields questions, wants their answers, gives predictions."""

MOST_GATES_TOGETHER = 16
MOST_WINDOWS_TOGETHER = 4
"""Larger batches take longer than the sum of smaller ones: they fall out of the caches."""


def answered(work: Work) -> list[Prediction]:
    """Do a piece of work, answering each question at once.

    Raises
    ------
    SerError
        What the work or a network raises.
    """
    reply: Any = None
    try:
        while True:
            (reply,) = answer([work.send(reply)])
    except StopIteration as end:
        predictions: list[Prediction] = end.value
        return predictions
    finally:
        work.close()


def alike(questions: Sequence[Question]) -> list[int]:
    """Give the indices of the first question and of those that its run can answer as well."""
    first = questions[0]
    is_gate = isinstance(first, GateQuestion)
    most = MOST_GATES_TOGETHER if is_gate else MOST_WINDOWS_TOGETHER
    if isinstance(first, WindowQuestion) and not first.classifier.batch_is_bitwise:
        return [0]
    kind = _kind(first)
    return [index for index, other in enumerate(questions) if _kind(other) == kind][:most]


def answer(questions: Sequence[Question]) -> list[Any]:
    """Answer questions that are alike, in one run.

    Raises
    ------
    SerError
        If the network fails.
    """
    gates = [question for question in questions if isinstance(question, GateQuestion)]
    if gates:
        return judge(gates)
    return classify([question for question in questions if isinstance(question, WindowQuestion)])


def _kind(question: Question) -> tuple[int, ...]:
    if isinstance(question, GateQuestion):
        return (len(question.rows),)
    return (len(question.window), id(question.classifier))
