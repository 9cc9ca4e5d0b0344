"""A cross-validation in words and tables."""

from collections.abc import Sequence

import numpy as np

from ser_train.cross_validation.ledger import Configuration
from ser_train.cross_validation.measurement import Measurement
from ser_train.reports.cross_validation_tables import (
    ensemble_name,
    figures_table,
    folds_table,
    percent,
    recalls_table,
    seconds_table,
)

_LEGEND = (
    "UAR: unweighted average recall; WA: accuracy; ± is the standard deviation over seeds. The "
    "intervals hold the middle 95 % of 2000 draws of the speakers, with replacement. ECE: expected "
    "calibration error over 15 bins; excess ECE: less the mean of 200 draws of the labels from the "
    "network's own probabilities, which is what perfect calibration would show on as many clips. "
    "NLL: mean negative log-likelihood in nats. Surest 80 %: the clips with the highest confidence."
)

_NORMALISED = (
    "Normalised by speaker: from the logarithms of the probabilities is taken by how much those of "
    "the same speaker's earlier clips were above those of other voices (in a random order; nothing "
    "later is known, and eight clips of the others' mean count at first). It presumes that a voice "
    "shows all labels about equally often, as these actors do and hardly anybody in life."
)


def headline(measured: Measurement) -> tuple[str, ...]:
    """Give the most important figures as lines for a terminal."""
    figures = measured.single
    lines = [
        f"{_finished(measured)}, {figures.clips} clips, {measured.heard}",
        f"UAR {percent(figures.uar)} %   WA {percent(figures.wa)} %   "
        f"ECE {percent(figures.ece)} %   NLL {figures.nll.mean:.3f}",
    ]
    if measured.together:
        lines.append(
            f"{ensemble_name(measured)}: UAR {percent(measured.together.uar)} %   "
            f"WA {percent(measured.together.wa)} %"
        )
    return tuple(lines)


def repeat_command(measured: Measurement, folder: str) -> str:
    """Give the command line that made the ledger; CORPORA is where the corpora lie."""
    configuration, seeds = measured.rows[0].configuration, measured.seeds
    words = ["ser-train cross-validate"]
    words += [f"--protocol {configuration.protocol}"]
    init = configuration.init_name
    words += [f"--init {init}.keras" if init else f"--network {configuration.network}"]
    words += [f"--seed {min(seeds)}"] if min(seeds) else []
    words += [f"--seeds {max(seeds) - min(seeds) + 1}"]
    lengths = {"--epochs": "epochs", "--batch": "batch_clips"}
    given = {option: configuration.recipe[name] for option, name in lengths.items()}
    words += [f"{option} {number}" for option, number in given.items() if number]
    threads = {row.threads for row in measured.rows} - {None}
    words += [f"--threads {threads.pop()}"] if len(threads) == 1 else []
    words += [f"--corpus CORPORA/{name}" for name in measured.protocol.corpora]
    words += [f"--also CORPORA/{name}" for name in configuration.also]
    words += [f"--map {old}={new}" for old, new in configuration.mapping]
    words += [f"--drop {label}" for label in configuration.dropped]
    return " ".join([*words, f"--report-dir {folder}"])


def markdown(measured: Measurement, folder: str, drawn: Sequence[str]) -> tuple[str, ...]:
    """Give the report as lines of Markdown.

    Parameters
    ----------
    measured : Measurement
    folder : str
        Name of the report folder.
    drawn : sequence of str
        Names of the pictures in it.
    """
    sections = (
        _opening(measured, folder),
        ["## Figures", "", *figures_table(measured), "", *_legend(measured)],
        ["## Labels", "", *recalls_table(measured), "", _picture("confusion.png", drawn)],
        [
            "## Confidence",
            "",
            *(_picture(n, drawn) for n in ("reliability.png", "risk_coverage.png")),
        ],
        ["## Seconds heard", "", *seconds_table(measured), "", _picture("seconds.png", drawn)],
        ["## Folds", "", *folds_table(measured)],
        ["## Speakers", "", _speakers(measured)],
        ["## Training", "", *_training(measured), "", _picture("curves.png", drawn)],
    )
    lines = [line for section in sections for line in ("", *section)]
    return tuple(_without_double_gaps(lines[1:]))


def _opening(measured: Measurement, folder: str) -> list[str]:
    configuration, words = measured.rows[0].configuration, measured.protocol.words
    also = ", ".join(configuration.also)
    unfinished = ", ".join(str(seed) for seed in measured.left_out)
    several = "seeds" if len(measured.left_out) > 1 else "seed"
    return [
        f"# {configuration.network}, {configuration.protocol}",
        "",
        f"{words[0].upper()}{words[1:]}.",
        *(["", f"Also in the training of every fold, never tested: {also}."] if also else []),
        *(["", _init(configuration)] if configuration.init_name else []),
        "",
        f"{_finished(measured)}; {measured.single.clips} clips; the figures are of "
        f"{measured.heard}, pooled over the folds of a seed.",
        *(["", f"Not finished and left out: {several} {unfinished}."] if unfinished else []),
        "",
        "```console",
        repeat_command(measured, folder),
        "```",
    ]


def _init(configuration: Configuration) -> str:
    return (
        f"Every fold begins with {configuration.init_name} (SHA-256 {configuration.init_sha256}) "
        "and adapts it: first a new head learns, then all layers at a small rate."
    )


def _legend(measured: Measurement) -> list[str]:
    lines = [_LEGEND, *(["", _NORMALISED] if measured.normalised else [])]
    if len(measured.per_fold) == 1 and not measured.per_fold[0].validation_speakers:
        lines += ["", "Uncalibrated: without other folds nothing can set the temperature."]
    return lines


def _speakers(measured: Measurement) -> str:
    accuracy = measured.speakers()
    values = 100 * np.array(list(accuracy.values()))
    if len(values) < 2:
        return f"Only {next(iter(accuracy))} was tested."
    worst, best = min(accuracy, key=accuracy.__getitem__), max(accuracy, key=accuracy.__getitem__)
    return (
        f"Accuracy over the {len(values)} speakers: {values.mean():.1f} ± {values.std(ddof=1):.1f} "
        f"%, from {values.min():.1f} % ({worst}) to {values.max():.1f} % ({best})."
    )


def _training(measured: Measurement) -> list[str]:
    recipe = measured.rows[0].configuration.recipe
    seconds = [r.training_seconds for r in measured.rows if r.training_seconds is not None]
    versions = sorted({f"{k} {v}" for row in measured.rows for k, v in row.versions.items()})
    commits = sorted({row.commit for row in measured.rows if row.commit})
    batch = f" of {recipe['batch_clips']} clips a batch" if recipe["batch_clips"] else ""
    lines = [f"{_epochs(measured)} epochs{batch}, last epoch."]
    if seconds:
        lines.append(f"A fold took {np.mean(seconds) / 60:.1f} minutes in the mean.")
    if versions:
        lines.append(f"Made with {', '.join(versions)}.")
    if commits:
        lines.append(f"Commit {', '.join(commits)}.")
    return [" ".join(lines), "", "Every other number of the recipe is in `ledger.jsonl`."]


def _epochs(measured: Measurement) -> str:
    """Of each network; where the number of clips decided, what the folds took."""
    lengths = [row.configuration.recipe["epochs"] or len(row.history) for row in measured.rows]
    least, most = min(lengths), max(lengths)
    return f"{least}" if least == most else f"{least} to {most}"


def _picture(name: str, drawn: Sequence[str]) -> str:
    words = name.removesuffix(".png").replace("_", " ")
    return f"![{words}]({name})" if name in drawn else ""


def _without_double_gaps(lines: Sequence[str]) -> list[str]:
    kept = [line for k, line in enumerate(lines) if line or (k and lines[k - 1])]
    return kept if kept[-1] else kept[:-1]


def _finished(measured: Measurement) -> str:
    folds = f"{len(measured.rows)} of {len(measured.seeds) * measured.folds} folds"
    seeds = ", ".join(str(seed) for seed in measured.seeds)
    return f"{folds}, seed{'s' if len(measured.seeds) > 1 else ''} {seeds}"
