"""Measure what bad conditions take from a model."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser_live.errors import SerError
from ser_live.model.classifier import OnnxClassifier
from ser_train.corpora import Clip, speakers_of, truth_of
from ser_train.evaluation.live.clips import (
    LiveEvaluation,
    Voice,
    begin,
    find_voices,
    leakage,
    record_beside,
    who,
    window_probabilities,
)
from ser_train.evaluation.live.conditions import (
    SEED,
    Condition,
    Samples,
    babble_bed,
    make_conditions,
)
from ser_train.metrics import Scores, score
from ser_train.progress import Reporter
from ser_train.reports.conditions_plot import draw_conditions
from ser_train.reports.markdown import markdown_table, write_json, write_page

CLEAN = "clean"
WANTED_POINTS = 6.0
"""Of UAR that a condition may cost."""
_MOST_TALKERS = 400
"""Recordings behind the babble."""


@dataclass(frozen=True, slots=True)
class InCondition:
    """One condition and what was measured in it."""

    name: str
    words: str
    scores: Scores
    lost_points: float
    """UAR when clean less UAR here, in points."""


@dataclass(frozen=True, slots=True)
class ConditionsFigures:
    """All figures."""

    model: str
    protocol: str
    seed: int
    measured: tuple[InCondition, ...]
    """The clean one comes first."""


def evaluate_conditions(job: LiveEvaluation, report: Reporter) -> tuple[str, ...]:
    """Measure recordings as they are, and the same ones in each bad condition.

    Returns
    -------
    tuple of str
        Lines of text.

    Raises
    ------
    SerError
        If the model, the recordings, their labels or the speakers do not fit, or if no speaker
        is left for the babble.
    """
    classifier, chosen = begin(job)
    if not chosen.others:
        raise SerError(
            "the babble needs recordings of speakers who are not measured, and none is left; "
            f"name some of {', '.join(speakers_of(chosen.clips))} with --speakers"
        )
    warning = leakage(record_beside(job.model, classifier.card), chosen.clips)
    if warning:
        report.warn(warning)
    conditions = make_conditions(_babble(chosen.others, report, job.skip_broken))
    voices = find_voices(chosen.clips, "recordings", report, job.skip_broken)
    protocol = (
        f"{who([voice.clip for voice in voices], warning)}; the first "
        f"{classifier.card.window.seconds:g} s from the speech onset of the clean recording; "
        f"babble of {len(speakers_of(chosen.others))} other speakers"
    )
    figures = measure_conditions(classifier, voices, conditions, protocol, report)
    if job.report_folder:
        _write_report(job.report_folder, figures)
    return _lines(figures)


def measure_conditions(
    classifier: OnnxClassifier,
    voices: Sequence[Voice],
    conditions: Sequence[Condition],
    protocol: str,
    report: Reporter,
) -> ConditionsFigures:
    """Classify the first window of each recording, clean and in each condition."""
    rows = []
    with report.counting("conditions", len(voices)) as advance:
        for voice in voices:
            clean = voice.samples()
            speech = slice(voice.onset_sample, voice.end_sample)
            bad = [c.process(clean, speech, voice.clip.path.name) for c in conditions]
            rows.append(window_probabilities(classifier, voice, clean, *bad))
            advance()
    truth = truth_of((voice.clip for voice in voices), classifier.card.labels)
    scores = [score(probabilities, truth) for probabilities in np.stack(rows, axis=1)]
    names = [(CLEAN, "the recordings as they are")] + [(c.name, c.words) for c in conditions]
    measured = tuple(
        InCondition(name, words, one, 100.0 * (scores[0].uar - one.uar))
        for (name, words), one in zip(names, scores, strict=True)
    )
    return ConditionsFigures(classifier.card.name, protocol, SEED, measured)


def _babble(clips: Sequence[Clip], report: Reporter, skip: bool) -> Samples:
    order = np.random.default_rng(SEED).permutation(len(clips))[:_MOST_TALKERS]
    voices = find_voices([clips[index] for index in order], "babble", report, skip)
    return babble_bed([voice.speech() for voice in voices])


def _lines(figures: ConditionsFigures) -> tuple[str, ...]:
    header, *rows = _table(figures)
    return (
        f"{figures.protocol}:",
        "",
        *(
            "  ".join(cell.rjust(9) for cell in row[:-1]) + f"  {row[-1]}"
            for row in (header, *rows)
        ),
    )


def _table(figures: ConditionsFigures) -> list[tuple[str, ...]]:
    head = ("condition", "UAR %", "lost", "WA %", "ECE %", "clips", "what it is")
    return [
        head,
        *(
            (
                one.name,
                f"{100 * one.scores.uar:.1f}",
                "" if one.name == CLEAN else f"{one.lost_points:.1f}",
                f"{100 * one.scores.wa:.1f}",
                f"{100 * one.scores.ece:.1f}",
                str(one.scores.count),
                one.words,
            )
            for one in figures.measured
        ),
    ]


def _write_report(folder: Path, figures: ConditionsFigures) -> None:
    page = [
        f"# {figures.model} in bad conditions",
        "",
        f"{figures.protocol}. Every condition is made from the recording's samples, the same for "
        f"the same recording in every run (seed {figures.seed}). Lost: points of UAR, wanted at "
        f"most {WANTED_POINTS:g}.",
        "",
        *markdown_table(_table(figures)),
        "",
        "![UAR in each condition](conditions.png)",
    ]
    draw_conditions(
        folder / "conditions.png",
        [(one.name, 100.0 * one.scores.uar, one.lost_points) for one in figures.measured],
        f"{figures.model}, {figures.measured[0].scores.count} recordings",
        WANTED_POINTS,
    )
    write_page(folder / "conditions.md", page)
    write_json(folder / "conditions.json", dataclasses.asdict(figures))
