"""``ser-train``: train, cross-validate, evaluate and try models."""

import argparse
import inspect
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ser_live import __version__
from ser_live.command_line import USER_ERROR, Parser, Signals, Stopped, exit_code_of
from ser_live.errors import SerError
from ser_live.standard_streams import stdout_failure
from ser_live.text import sanitize
from ser_train.models.silent_stderr import silent_stderr
from ser_train.progress import Reporter

if TYPE_CHECKING:
    from ser_train.cross_validation.plan import CrossValidation

_EPILOG = """\
examples:
  ser-train fit -B 64 --epochs 15 --corpus ravdess --network emotion-tcn -o emotion.keras
  ser-train fit --init emotion.keras --corpus mine.csv -o mine.keras
  ser-train cross-validate --protocol ravdess-luna5 --network emotion-tcn \\
      --corpus ravdess --report-dir reports/luna
  ser-train evaluate emotion.keras --corpus emodb
  ser-train predict emotion.keras voice.wav
"""

_Job = TypeVar("_Job")
_NEEDED = (
    "tensorflow",
    "keras",
    "safetensors",
    "librosa",
    "sklearn",
    "scipy",
    "matplotlib",
    "platformdirs",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``ser-train`` and return its exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; those of the process when left out.

    Returns
    -------
    int
        0; 2 for a mistake of the user; 130 after Ctrl-C, 143 after SIGTERM.
    """
    return exit_code_of("ser-train", lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    options = make_parser().parse_args(argv)
    options.command_line = shlex.join(["ser-train", *(sys.argv[1:] if argv is None else argv)])
    try:
        with Signals():
            return int(options.run(options) or 0)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        raise SerError(f"{error}; training needs: pip install 'ser-live[train]'") from error
    except Stopped:
        print(f"ser-train: interrupted{_kept(options)}", file=sys.stderr)
        raise


def _kept(options: argparse.Namespace) -> str:
    """Say how an interrupted training goes on, if it has left anything to go on with."""
    from ser_train.cross_validation.ledger import LEDGER  # noqa: PLC0415 - not for --help
    from ser_train.training.checkpoint import CHECKPOINT  # noqa: PLC0415

    folders = (
        [options.run_folder, vars(options).get("report_folder")] if "run_folder" in options else []
    )
    if not any(any(f.rglob(name)) for f in folders if f for name in (CHECKPOINT, LEDGER)):
        return ""
    how = "--resume" if options.command == "fit" else "the same command"
    return f"; what was finished is kept, and {how} goes on from there"


def make_parser() -> argparse.ArgumentParser:
    """Build the parser; the function that runs the chosen command is in ``run``."""
    from ser_train.commands import arguments  # noqa: PLC0415 - NumPy, where a signal may come

    parser = Parser(
        prog="ser-train",
        description="Train, cross-validate, evaluate and try speech emotion models.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, run, add_options, text in (
        ("fit", _fit, arguments.add_fit, "train a model and save it"),
        (
            "cross-validate",
            _cross_validate,
            arguments.add_cross_validate,
            "measure a network by a published protocol",
        ),
        ("report", _report, arguments.add_report, "write the report of finished folds once more"),
        ("compare", _compare, arguments.add_compare, "subtract one report from another"),
        ("evaluate", _evaluate, arguments.add_evaluate, "measure a model on recordings"),
        ("ensemble", _ensemble, arguments.add_ensemble, "make one model of several"),
        ("predict", _predict, arguments.add_predict, "name the emotion of recordings"),
    ):
        command = commands.add_parser(name, help=text)
        add_options(command)
        command.set_defaults(run=run)
    return parser


def _fit(options: argparse.Namespace) -> None:
    from ser_train.models.keras_file import read_record, require_one_start  # noqa: PLC0415
    from ser_train.models.registry import find_network  # noqa: PLC0415

    output: Path = options.output
    if output.suffix != ".keras":
        raise SerError(f"-o names {output}, wanted a file that ends in .keras")
    require_one_start(options.network, options.init, options.encoder, options.settings)
    if options.acted and not options.ordinary:
        raise SerError("--acted is for the head that tells ordinary talk: give --ordinary too")
    if options.init:
        read_record(options.init)
    elif ":" not in options.network:
        find_network(options.network).with_settings(options.settings).with_encoder(options.encoder)
    _require_talk((*options.ordinary, *options.acted))
    _require_recordings(options)
    _start_tensorflow(options.threads)
    from ser_train.commands.adapt import adapt  # noqa: PLC0415 - TensorFlow takes seconds
    from ser_train.commands.fit import FitJob, fit  # noqa: PLC0415

    options.run_folder = options.run_folder or output.with_name(f"{output.stem}-run")
    job = _job(FitJob, options)
    if options.init is None:
        fit(job, Reporter(logs=options.logs))
    else:
        adapt(job, options.init, Reporter(logs=options.logs))


def _cross_validate(options: argparse.Namespace) -> None:
    from ser_train.cross_validation.plan import CrossValidation  # noqa: PLC0415 - libsndfile, soxr

    if ":" in options.network:  # whose module imports it
        _start_tensorflow(options.threads)
    job = _job(CrossValidation, options)
    report = Reporter(logs=options.logs)
    print("\n".join(cross_validate(job, report, lambda: _start_tensorflow(options.threads))))


def cross_validate(
    job: "CrossValidation", report: Reporter, before_training: Callable[[], None] = lambda: None
) -> tuple[str, ...]:
    """Run the folds that are not finished, then sum up all that are.

    Parameters
    ----------
    job : CrossValidation
    report : Reporter
    before_training : callable
        Called once, before TensorFlow is needed, and not at all if every fold is finished.

    Returns
    -------
    tuple of str
        The figures as lines of text; the report is in the folder.

    Raises
    ------
    SerError
        If the recordings do not fit the protocol, or the folder holds folds of other settings.
    """
    from ser_train.cross_validation.plan import make_plan  # noqa: PLC0415 - libsndfile, soxr
    from ser_train.reports.cross_validation import summarise  # noqa: PLC0415 - Matplotlib takes a second

    plan = make_plan(job)
    plan.ledger.require(plan.configuration)
    missing = plan.missing()
    if missing:
        before_training()
        from ser_train.cross_validation.folds import run_folds  # noqa: PLC0415 - TensorFlow takes seconds

        run_folds(plan, missing, report)
    else:
        report.note("every fold is finished: kept")
    return summarise(job.report_folder, job.tables)


def _report(options: argparse.Namespace) -> None:
    from ser_train.reports.cross_validation import summarise  # noqa: PLC0415 - Matplotlib takes a second

    print("\n".join(summarise(options.folder, options.tables)))


def _compare(options: argparse.Namespace) -> None:
    from ser_train.cross_validation.comparison import compare_reports, read_answers  # noqa: PLC0415
    from ser_train.evaluation.clips import make_report_folder  # noqa: PLC0415
    from ser_train.reports.comparison import comparison_lines, write_comparison  # noqa: PLC0415

    make_report_folder(options.report_folder, options.tables)
    found = compare_reports(*(read_answers(folder) for folder in options.reports))
    if options.report_folder:
        write_comparison(options.report_folder, found, options.tables)
    print("\n".join(comparison_lines(found)))


def _require_recordings(options: argparse.Namespace) -> None:
    """Check the recordings that are named, before TensorFlow takes its seconds."""
    from ser_train.commands import arguments  # noqa: PLC0415

    replace(arguments.recordings_of(options), note=lambda text: None).find()


def _require_talk(paths: Iterable[Path]) -> None:
    from ser_train.corpora import find_talk  # noqa: PLC0415

    for path in paths:
        find_talk(path)


def _evaluate(options: argparse.Namespace) -> None:
    from ser_train.models.keras_file import read_record  # noqa: PLC0415

    ways = [way for way in ("stream", "conditions", "ordinary") if vars(options)[way]]
    names = ("corpus", "train-dir", "manifest", "map", "drop")
    idle = [f"--{name}" for name in names if vars(options)[name.replace("-", "_")]]
    if options.ordinary and idle:
        raise SerError(f"--ordinary names its own recordings: leave out {', '.join(idle)}")
    if not ways and options.model.suffix != ".keras":
        raise SerError(
            f"{sanitize(options.model)} is no .keras file: measure an exported model with "
            "--stream, --conditions or --ordinary"
        )
    if options.model.suffix == ".keras":
        read_record(options.model)
        _require_talk(options.ordinary)
        if not options.ordinary:
            _require_recordings(options)
        _start_tensorflow(None, options.network)
    from ser_train.commands import evaluate  # noqa: PLC0415 - Matplotlib takes a second
    from ser_train.evaluation.clips import Evaluation  # noqa: PLC0415

    measure = partial(evaluate.evaluate_live, ways[0]) if ways else evaluate.evaluate
    print("\n".join(measure(_job(Evaluation, options), Reporter())))


def _predict(options: argparse.Namespace) -> int:
    from ser_train.commands.predict import predict  # noqa: PLC0415 - onnxruntime takes its time
    from ser_train.evaluation.clips import load_classifier  # noqa: PLC0415

    status = 0
    if options.model.suffix == ".keras":
        _start_tensorflow(None, options.network)
    classifier = load_classifier(options.model)  # a bad model is told once, not for each file
    for path in options.files:
        try:
            answer = predict(path, classifier, options.prior)
        except SerError as error:
            print(f"ser-train: error: {error}", file=sys.stderr)
            status = USER_ERROR
            continue
        for remark in answer.remarks:
            print(f"ser-train: note: {remark}", file=sys.stderr)
        print(answer.line(options.json), flush=True)
        if stdout_failure() is not None:
            break
    return status


def _ensemble(options: argparse.Namespace) -> None:
    _start_tensorflow(None, options.network)
    from ser_train.commands.merge import merge  # noqa: PLC0415 - TensorFlow takes seconds

    card = merge(options.models, options.output, options.name, options.cross_validation)
    print(f"wrote {options.output}: {card.description}")
    print("its members' figures are not its own; measure it with ser-train evaluate")


def _start_tensorflow(threads: int | None, network: str = "") -> None:
    """Import TensorFlow quietly, limit its threads before it starts any, then import a network."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # a fifth faster on AVX2, where it is off
    with silent_stderr():  # the libraries write before any of their settings
        import tensorflow as tf  # noqa: PLC0415 - takes seconds

    if threads is not None and tf.config.threading.get_intra_op_parallelism_threads() != threads:
        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        except RuntimeError as error:
            raise SerError(f"--threads {threads} comes too late: {error}") from error
    if network:
        from ser_train.models.registry import find_network  # noqa: PLC0415

        find_network(network)


def _job(kind: Callable[..., _Job], options: argparse.Namespace) -> _Job:
    """Return a job, each field of which is the option of that name."""
    from ser_train.commands import arguments  # noqa: PLC0415
    from ser_train.files import default_cache_folder  # noqa: PLC0415 - not for --help

    cache_folder = options.cache_dir or default_cache_folder()
    found = {"recordings": arguments.recordings_of(options), "cache_folder": cache_folder}
    told = vars(options) | found
    fields = {name: told[name] for name in inspect.signature(kind).parameters if name in told}
    return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()})
