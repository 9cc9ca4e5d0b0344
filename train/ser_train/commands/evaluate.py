"""Measure a saved model: on recordings, on a stream, in bad conditions, or on ordinary talk."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ser_live.errors import SerError
from ser_live.text import sanitize
from ser_train.corpora import Clip
from ser_train.data.prepare import Prepared, prepare
from ser_train.data.splits import Split
from ser_train.evaluation.calibration import answers_of_speakers, calibrate, heard, measure
from ser_train.evaluation.clips import (
    Evaluation,
    choose,
    describe_speakers,
    leakage,
    make_report_folder,
)
from ser_train.evaluation.live.conditions import evaluate_conditions
from ser_train.evaluation.live.ordinary import evaluate_talk
from ser_train.evaluation.live.stream import evaluate_stream
from ser_train.models.keras_file import ModelFile, load_model, save_model
from ser_train.models.registry import network_of
from ser_train.models.size import measure_size
from ser_train.models.training_record import heard_before
from ser_train.progress import Reporter
from ser_train.reports import conditions, live
from ser_train.reports.evaluation import write_evaluation
from ser_train.reports.markdown import score_lines
from ser_train.reports.model_card import adapted_record, recalibrated_card

_RIGHT_OF_SURE = 0.6
"""Share of the sure answers to strangers that must be right."""


def evaluate(job: Evaluation, report: Reporter) -> tuple[str, ...]:
    """Measure a ``.keras`` file as a live stream would use it, and on whole utterances.

    Returns
    -------
    tuple of str
        Lines of text; the headline is the first window of each clip.

    Raises
    ------
    SerError
        If the model, the recordings, their labels or the speakers do not fit.
    """
    make_report_folder(job.report_folder, job.tables)
    loaded = load_model(job.model)
    model, labels, network = loaded.model, loaded.card.labels, network_of(loaded.card)
    network = network.with_front_end_of(model)
    clips, _ = choose(job, labels)
    if job.calibrated:
        _require_strangers(job, loaded, clips)
    prepared = prepare(clips, network, job.cache_folder, report, job.skip_broken, train=False)
    every = range(len(prepared.clips))
    contents = prepared.contents(every)
    if job.calibrated:
        _require_strangers(job, loaded, prepared.clips, contents)
    measured = measure(model, prepared, every, labels, whole=False)
    warning = leakage(loaded.record, prepared.clips, contents)
    if warning:
        report.warn(warning)
    words = f"{heard(network, whole=False)}, under an even prior"
    lines = [f"{describe_speakers(prepared.clips, warning)}; {words}:"]
    lines += score_lines(measured.scores, labels)
    if network.front_end is None:
        whole = measure(model, prepared, every, labels, whole=True)
        lines += ["", f"beside it, {whole.heard}:", *score_lines(whole.scores, labels)]
    if job.report_folder:
        size = measure_size(model, network.spectrum, network.window)
        write_evaluation(job, loaded.card, measured, lines[0], size)
    if job.calibrated:
        lines += _calibrate(job.calibrated, loaded, prepared)
    return tuple(lines)


def _require_strangers(
    job: Evaluation, file: ModelFile, clips: Sequence[Clip], contents: Sequence[str] = ()
) -> None:
    """Check that clips can calibrate a model: by names before anything is computed."""
    if job.calibrated and job.calibrated.suffix != ".keras":
        raise SerError(f"--calibrated names {job.calibrated}, wanted a file that ends in .keras")
    reason = heard_before(file.record, clips, contents)
    if file.card.ordinary_odds or file.card.prior:
        reason = "its everyday prior sets the threshold, with ordinary talk"
    if reason:
        wanted = "speakers that it never heard (--speakers) and an even prior"
        raise SerError(f"{sanitize(job.model)}: {reason}; --calibrated wants {wanted}")


def _calibrate(target: Path, file: ModelFile, prepared: Prepared) -> list[str]:
    """Set temperature and threshold by all clips, and write the model."""
    every, labels = range(len(prepared.clips)), file.card.labels
    file.model.get_layer("temperature").temperature.assign(1.0)
    answers = answers_of_speakers(file.model, prepared, every, labels)
    found = calibrate(file.model, answers, _RIGHT_OF_SURE)
    measured = measure(file.model, prepared, every, labels, whole=False)
    card, seed = recalibrated_card(file, found, measured), file.record.seed if file.record else 0
    split = Split((), tuple(every), ())
    record = adapted_record(file.record, prepared, split, seed)
    save_model(target, file.model, card, record)
    of, threshold = found.calibration, found.smoothing.uncertain_below
    words = f"temperature {of.temperature:g}, uncertain below {threshold:g}: {of.method}"
    return ["", f"wrote {target}; {words}:", *score_lines(measured.scores, labels)]


def evaluate_live(way: str, job: Evaluation, report: Reporter) -> tuple[str, ...]:
    """Measure a model in one of the ways of `LIVE`; result and errors are those of `evaluate`."""
    if job.tables:
        raise SerError(f"--csv and --latex do not go with --{way}, whose tables are in its page")
    measure, write, lines = LIVE[way]
    figures = measure(job, report)
    if job.report_folder:
        write(job.report_folder, figures)
    return lines(figures)


LIVE: dict[str, tuple[Callable[..., Any], Callable[..., None], Callable[..., tuple[str, ...]]]] = {
    "stream": (evaluate_stream, live.write_stream, live.stream_lines),
    "conditions": (evaluate_conditions, conditions.write_conditions, conditions.conditions_lines),
    "ordinary": (evaluate_talk, conditions.write_talk, conditions.talk_lines),
}
"""Ways to measure a model as it runs live: the measurement, its report, its lines."""
