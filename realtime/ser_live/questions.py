"""What recognizers ask the networks: answered at once, or those of many streams together."""

from collections import defaultdict
from collections.abc import Generator, Sequence
from typing import Any

from ser_live.classifier import WindowQuestion, classify
from ser_live.prediction import Prediction
from ser_live.speech import GateQuestion, judge

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


def groups(questions: Sequence[Question]) -> list[list[int]]:
    """Give the indices of questions that one run of a network can answer."""
    alike: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, question in enumerate(questions):
        alike[_kind(question)].append(index)
    return [part for indices in alike.values() for part in _parts(indices, questions[indices[0]])]


def answer(questions: Sequence[Question]) -> list[Any]:
    """Answer the questions of one group, in one run.

    Raises
    ------
    SerError
        If the network fails.
    """
    gates = [question for question in questions if isinstance(question, GateQuestion)]
    if gates:
        return judge(gates)
    return classify([question for question in questions if isinstance(question, WindowQuestion)])


def _parts(indices: list[int], first: Question) -> list[list[int]]:
    is_gate = isinstance(first, GateQuestion)
    most = MOST_GATES_TOGETHER if is_gate else MOST_WINDOWS_TOGETHER
    return [indices[start : start + most] for start in range(0, len(indices), most)]


def _kind(question: Question) -> tuple[int, ...]:
    if isinstance(question, GateQuestion):
        return (len(question.rows),)
    return (len(question.window), id(question.classifier))
