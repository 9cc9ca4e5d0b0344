"""A cross-validation in words and tables."""

from collections.abc import Iterable, Sequence

import numpy as np

from ser_train.figures import Figure, Figures, FoldFigures, Measurement
from ser_train.posteriors import WHOLE

_LEGEND = (
    "UAR: unweighted average recall; WA: accuracy; ± is the standard deviation over seeds. The "
    "intervals hold the middle 95 % of 2000 draws of the speakers, with replacement. ECE: expected "
    "calibration error over 15 bins; excess ECE: less the mean of 200 draws of the labels from the "
    "network's own probabilities, which is what perfect calibration would show on as many clips. "
    "NLL: mean negative log-likelihood in nats. Surest 80 %: the clips with the highest confidence."
)


def headline(measured: Measurement) -> tuple[str, ...]:
    """Give the most important figures as lines for a terminal."""
    figures = measured.single
    lines = [
        f"{_finished(measured)}, {figures.clips} clips, {measured.heard}",
        f"UAR {_percent(figures.uar)} %   WA {_percent(figures.wa)} %   "
        f"ECE {_percent(figures.ece)} %   NLL {figures.nll.mean:.3f}",
    ]
    if measured.together:
        lines.append(
            f"{_ensemble(measured)}: UAR {_percent(measured.together.uar)} %   "
            f"WA {_percent(measured.together.wa)} %"
        )
    return tuple(lines)


def repeat_command(measured: Measurement, folder: str) -> str:
    """Give the command line that made the ledger; CORPORA is where the corpora lie."""
    configuration, seeds = measured.rows[0].configuration, measured.seeds
    words = ["ser-train cross-validate"]
    words += [f"--protocol {configuration.protocol}", f"--network {configuration.network}"]
    words += [f"--seed {min(seeds)}"] if min(seeds) else []
    words += [f"--seeds {max(seeds) - min(seeds) + 1}"]
    words += [f"--epochs {configuration.recipe['epochs']}"]
    words += [f"--batch {configuration.recipe['batch_clips']}"]
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
        ["## Figures", "", *_figures_table(measured), "", _LEGEND, *_calibration(measured)],
        ["## Labels", "", *_recalls(measured), "", _picture("confusion.png", drawn)],
        [
            "## Confidence",
            "",
            *(_picture(n, drawn) for n in ("reliability.png", "risk_coverage.png")),
        ],
        ["## Seconds heard", "", *_seconds(measured), "", _picture("seconds.png", drawn)],
        ["## Folds", "", *_folds(measured)],
        ["## Speakers", "", _speakers(measured)],
        ["## Training", "", *_training(measured), "", _picture("curves.png", drawn)],
    )
    lines = [line for section in sections for line in ("", *section)]
    return tuple(_without_double_gaps(lines[1:]))


def _opening(measured: Measurement, folder: str) -> list[str]:
    configuration, words = measured.rows[0].configuration, measured.protocol.words
    also = ", ".join(configuration.also)
    unfinished = ", ".join(str(seed) for seed in measured.left_out)
    return [
        f"# {configuration.network}, {configuration.protocol}",
        "",
        f"{words[0].upper()}{words[1:]}.",
        *(["", f"Also in the training of every fold, never tested: {also}."] if also else []),
        "",
        f"{_finished(measured)}; {measured.single.clips} clips; the figures are of "
        f"{measured.heard}, pooled over the folds of a seed.",
        *(["", f"Not finished and left out: seed {unfinished}."] if unfinished else []),
        "",
        "```console",
        repeat_command(measured, folder),
        "```",
    ]


def _figures_table(measured: Measurement) -> list[str]:
    seeds = len(measured.seeds)
    rows = [
        _figures_row(
            "one network" + (f", mean of {seeds} seeds" if seeds > 1 else ""), measured.single
        )
    ]
    if measured.together:
        rows.append(_figures_row(f"**{_ensemble(measured)}**", measured.together))
    if measured.among_tested:
        labels = ", ".join(measured.protocol.tested)
        rows.append(_figures_row(f"one network, answers among {labels}", measured.among_tested))
    rows.append(_figures_row("one network, temperature 1", measured.untempered))
    header = (
        "", "UAR %", "95 %", "WA %", "95 %", "ECE %", "excess ECE %", "NLL", "surest 80 %: WA %"
    )  # fmt: skip
    return _table(header, rows)


def _figures_row(name: str, figures: Figures) -> tuple[str, ...]:
    return (
        name,
        _percent(figures.uar),
        _interval(figures.uar),
        _percent(figures.wa),
        _interval(figures.wa),
        _percent(figures.ece),
        _percent(figures.excess_ece),
        f"{figures.nll.mean:.3f}",
        _percent(figures.wa_of_surest),
    )


def _calibration(measured: Measurement) -> list[str]:
    fold = measured.per_fold[0]
    if len(measured.per_fold) > 1 or fold.validation_speakers:
        return []
    return ["", "Uncalibrated: without other folds nothing can set the temperature."]


def _recalls(measured: Measurement) -> list[str]:
    rows = [("one network", *(f"{100 * r:.0f}" for r in measured.single.recalls.values()))]
    if measured.together:
        shares = measured.together.recalls.values()
        rows.append((_ensemble(measured), *(f"{100 * r:.0f}" for r in shares)))
    return _table(("recall %", *measured.single.recalls), rows)


def _seconds(measured: Measurement) -> list[str]:
    figures = measured.heard_figures()
    names = ["the whole speech" if name == WHOLE else f"{name} s" for name in figures]
    rows = [
        (what, *(f"{100 * pair[place]:.1f}" for pair in figures.values()))
        for place, what in enumerate(("UAR %", "WA %"))
    ]
    return _table(("heard", *names), rows)


def _folds(measured: Measurement) -> list[str]:
    header = ("fold", "tested", "clips", "UAR %", "WA %", "temperature")
    if not measured.protocol.tested:
        return _table(header, [_fold_row(fold) for fold in measured.per_fold])
    more = ("UAR % among the tested labels", "mass on other labels %", "of it, labels it lacks %")
    rows = [
        (
            *_fold_row(fold),
            _percent(fold.among_tested) if fold.among_tested else "",
            f"{100 * (fold.untested_mass or 0.0):.1f}",
            f"{100 * (fold.missing_mass or 0.0):.1f}",
        )
        for fold in measured.per_fold
    ]
    return _table((*header, *more), rows)


def _fold_row(fold: FoldFigures) -> tuple[str, ...]:
    who = fold.test_speakers
    tested = ", ".join(who) if len(who) <= 5 else f"{len(who)} speakers"
    temperatures = ", ".join(f"{value:.2f}" for value in fold.temperatures)
    return (
        fold.name,
        tested,
        str(fold.test_clips),
        _percent(fold.uar),
        _percent(fold.wa),
        temperatures,
    )


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
    lines = [f"{recipe['epochs']} epochs of {recipe['batch_clips']} clips a batch, last epoch."]
    if seconds:
        lines.append(f"A fold took {np.mean(seconds) / 60:.1f} minutes in the mean.")
    if versions:
        lines.append(f"Made with {', '.join(versions)}.")
    if commits:
        lines.append(f"Commit {', '.join(commits)}.")
    return [" ".join(lines), "", "Every other number of the recipe is in `ledger.jsonl`."]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


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


def _ensemble(measured: Measurement) -> str:
    return f"ensemble of the {len(measured.seeds)} seeds"


def _percent(figure: Figure) -> str:
    spread = "" if figure.sd is None else f" ± {100 * figure.sd:.1f}"
    return f"{100 * figure.mean:.1f}{spread}"


def _interval(figure: Figure) -> str:
    if figure.interval is None:
        return ""
    return f"{100 * figure.interval.low:.1f} to {100 * figure.interval.high:.1f}"
