"""What ``ser-train evaluate`` does with a file that runs live: its options, and what they start."""

import argparse

from ser_train.data.recordings import recordings_of


def add_live_options(parser: argparse.ArgumentParser) -> None:
    """Let a command measure on a stream or in bad conditions, but not both at once."""
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--stream", action="store_true", help="play the recordings through the live engine"
    )
    how.add_argument(
        "--conditions", action="store_true", help="with noise, in a room, over a telephone"
    )


def evaluate_live(options: argparse.Namespace) -> tuple[str, ...]:
    """Do what `add_live_options` was told; gives lines of text."""
    from ser_train.evaluation.live.clips import LiveEvaluation  # noqa: PLC0415
    from ser_train.evaluation.live.conditions_evaluation import evaluate_conditions  # noqa: PLC0415 - not for --help
    from ser_train.evaluation.live.stream import evaluate_stream  # noqa: PLC0415
    from ser_train.progress import Reporter  # noqa: PLC0415

    job = LiveEvaluation(
        model=options.model,
        recordings=recordings_of(options),
        speakers=options.speakers,
        report_folder=options.report_dir,
        skip_broken=options.skip_broken,
        seed=options.seed,
    )
    return (evaluate_stream if options.stream else evaluate_conditions)(job, Reporter())
