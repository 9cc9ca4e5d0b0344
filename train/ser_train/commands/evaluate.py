"""Measure a saved model on recordings."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ser_train.corpora import Clip
from ser_train.data.prepare import prepare
from ser_train.data.recordings import Recordings
from ser_train.evaluation.calibration import heard, measure
from ser_train.evaluation.live.clips import choose, leakage, make_report_folder, who
from ser_train.models.keras_file import load_model
from ser_train.models.registry import Network, network_of
from ser_train.progress import Reporter
from ser_train.reports import markdown as pages
from ser_train.reports import plots as pictures


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything that ``ser-train evaluate`` is told."""

    model: Path
    recordings: Recordings
    cache_folder: Path
    speakers: tuple[str, ...] | None = None
    """None: all."""
    report_folder: Path | None = None
    """None: no pictures."""
    skip_broken: bool = False


def evaluate(job: Evaluation, report: Reporter) -> tuple[str, ...]:
    """Measure a model as a live stream would use it, and on whole utterances.

    Returns
    -------
    tuple of str
        Lines of text; the headline is the first window of each clip.

    Raises
    ------
    SerError
        If the model, the recordings, their labels or the speakers do not fit.
    """
    make_report_folder(job.report_folder)
    loaded = load_model(job.model)
    network = network_of(loaded.card)
    clips = choose(job.recordings, job.speakers, loaded.card.labels).clips
    prepared = prepare(clips, network, job.cache_folder, report, job.skip_broken, train=False)
    every = range(len(prepared.clips))
    labels = loaded.card.labels
    measured = measure(loaded.model, prepared, every, labels, whole=False)
    warning = leakage(loaded.record, prepared.clips)
    if warning:
        report.warn(warning)
    lines = [_protocol(network, prepared.clips, warning)]
    lines += pages.score_lines(measured.scores, labels)
    if network.front_end is None:
        whole = measure(loaded.model, prepared, every, labels, whole=True)
        lines += ["", f"beside it, {whole.heard}:", *pages.score_lines(whole.scores, labels)]
    if job.report_folder:
        pictures.draw_measured(
            job.report_folder, measured.probabilities, measured.truth, labels, loaded.card.name
        )
        data = {"protocol": lines[0], "scores": dataclasses.asdict(measured.scores)}
        pages.write_json(job.report_folder / "metrics.json", data)
    return tuple(lines)


def _protocol(network: Network, clips: Sequence[Clip], warning: str) -> str:
    return f"{who(clips, warning)}; {heard(network, whole=False)}:"
