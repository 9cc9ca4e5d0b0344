"""Report of a cross-validation: ``report.md`` with its plots, and ``summary.json``."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ser_train.corpora import LICENCES
from ser_train.cross_validation.ledger import WHOLE, Ledger
from ser_train.cross_validation.measurement import (
    Figure,
    Figures,
    FoldFigures,
    Measurement,
    measure_ledger,
)
from ser_train.metrics import confusion, reliability
from ser_train.reports.markdown import markdown_table, percent, write_json, write_page, write_tables
from ser_train.reports.tables import size_words, speakers_table, tables_of

_LEGEND = (
    "UAR: unweighted average recall; WA: accuracy; ± is the standard deviation over seeds. The "
    "intervals are t intervals over speakers, each of them left out in turn (jackknife); none with "
    "fewer than three. ECE: expected calibration error over 15 bins; debiased ECE: the root of the "
    "mean squared gap of the bins less what chance adds to it (Kumar, Liang and Ma 2019), negative "
    "where the gaps are smaller than chance alone makes them. NLL: mean negative log-likelihood in "
    "nats. Surest 80 %: the clips with the highest confidence. Sure: the clips whose confidence "
    "reaches the threshold that the answers to the clips of the other folds set, among all labels. "
    "All probabilities are under the even prior."
)

_NORMALISED = (
    "Normalised by speaker: from the logarithms of the probabilities is taken by how much those of "
    "the same speaker's earlier clips were above those of other voices (in a random order; nothing "
    "later is known, and eight clips of the others' mean count at first). It presumes that a voice "
    "shows all labels about equally often, as these actors do and hardly any voice in life."
)


def summarise(folder: Path, forms: Sequence[str] = ()) -> tuple[str, ...]:
    """Write the report of the finished folds in a folder; needs no TensorFlow.

    Parameters
    ----------
    folder : Path
    forms : sequence of str
        Of the tables beside the page: "csv", "latex".

    Returns
    -------
    tuple of str
        The headline figures as lines of text.

    Raises
    ------
    SerError
        If no fold is finished, or the files in the folder do not fit together.
    """
    from ser_train.reports.plots import draw_cross_validation  # noqa: PLC0415 - Matplotlib takes a second

    measured = measure_ledger(Ledger(folder))
    write_json(folder / "summary.json", _data(measured, folder.name))
    drawn = draw_cross_validation(folder, measured)
    tables = tables_of(_ways(measured), measured.pools, measured.headline)
    write_tables(folder, tables, forms)
    page = folder / "report.md"
    write_page(page, report_page(measured, folder.name, drawn))
    return (*headline(measured), f"the report is {page}")


def headline(measured: Measurement) -> tuple[str, ...]:
    """Return the most important figures as lines for a terminal."""
    figures = measured.single
    lines = [
        f"{_finished(measured)}, {figures.clips} clips, {measured.heard}",
        f"UAR {_spread(figures.uar)} %   WA {_spread(figures.wa)} %   "
        f"ECE {_spread(figures.ece)} %   NLL {figures.nll.mean:.3f}",
    ]
    if measured.together:
        uar, wa = _spread(measured.together.uar), _spread(measured.together.wa)
        lines.append(f"{_ensemble_name(measured)}: UAR {uar} %   WA {wa} %")
    return tuple(lines)


def repeat_command(measured: Measurement, folder: str) -> str:
    """Return the command line that made the ledger; CORPORA is where the corpora lie."""
    configuration, seeds = measured.rows[0].configuration, measured.seeds
    epochs, batch = (configuration.recipe[name] for name in ("epochs", "batch_clips"))
    threads = {row.threads for row in measured.rows} - {None}
    init, corpora = configuration.init_name, measured.protocol.corpora or configuration.corpora
    words = [
        f"ser-train cross-validate --protocol {configuration.protocol}",
        f"--init {init}.keras" if init else f"--network {configuration.network}",
        f"--seed {min(seeds)}" if min(seeds) else "",
        f"--seeds {max(seeds) - min(seeds) + 1}",
        f"--epochs {epochs}" if epochs else "",
        f"--batch {batch}" if batch else "",
        *(f"--set {field}={value}" for field, value in configuration.settings),
        f"--threads {threads.pop()}" if len(threads) == 1 else "",
        *(f"--corpus {_place(name)}" for name in corpora),
        *(f"--also {_place(name)}" for name in configuration.also),
        *(f"--map {old}={new}" for old, new in configuration.mapping),
        *(f"--drop {label}" for label in configuration.dropped),
        f"--report-dir {folder}",
    ]
    return " ".join(word for word in words if word)


def _place(corpus: str) -> str:
    """Name the folder of a known corpus, or the table of another."""
    if corpus in LICENCES:
        return f"CORPORA/{corpus}"
    table = corpus.removeprefix("own-")
    return f"{table if table in LICENCES else corpus}.csv"


def report_page(measured: Measurement, folder: str, drawn: Sequence[str]) -> tuple[str, ...]:
    """Return the report as paragraphs of Markdown.

    Parameters
    ----------
    measured : Measurement
    folder : str
        Name of the report folder.
    drawn : sequence of str
        Names of the plots in it.
    """
    return (
        *_opening(measured, folder),
        "## Figures",
        _figures_table(measured),
        *_legend(measured),
        "## Labels",
        _recalls_table(measured),
        _plots(drawn, "confusion.png"),
        "## Confidence",
        _plots(drawn, "reliability.png", "risk_coverage.png"),
        "## Seconds heard",
        _seconds_table(measured),
        _plots(drawn, "seconds.png"),
        "## Folds",
        _folds_table(measured),
        "## Speakers",
        _speakers(measured),
        markdown_table(speakers_table(measured.pools, measured.headline)),
        "## Training",
        _training(measured),
        "Every other number of the recipe is in `ledger.jsonl`.",
        _plots(drawn, "curves.png"),
    )


def _data(measured: Measurement, folder: str) -> dict[str, Any]:
    truth = np.concatenate([one.truth for one in measured.pools])
    answers = np.concatenate([one.probabilities[measured.headline] for one in measured.pools])
    figures = {
        "figures": measured.single,
        "ensemble": measured.together,
        "among_tested": measured.among_tested,
        "ensemble_among_tested": measured.together_among_tested,
        "untempered": measured.untempered,
        "normalised_by_speaker": measured.normalised,
    }
    return {
        "command": "\n".join(_commands(measured, folder)),
        "configuration": dataclasses.asdict(measured.rows[0].configuration),
        "protocol": measured.words,
        "commits": sorted({row.commit or "unknown" for row in measured.rows}),
        "speaker_independent": measured.protocol.speaker_independent,
        "labels": measured.pools[0].labels,
        "seeds": measured.seeds,
        "folds": measured.rows[0].folds,
        "finished_folds": len(measured.rows),
        "heard": measured.heard,
        **{name: dataclasses.asdict(of) if of else None for name, of in figures.items()},
        "by_seconds_heard": {
            name: {"uar": uar, "wa": wa} for name, (uar, wa) in measured.heard_figures().items()
        },
        "by_speaker": {of.speaker: of.wa for of in measured.speakers()},
        "speakers": [dataclasses.asdict(of) for of in measured.speakers()],
        "mean_over_folds": measured.mean_over_folds(),
        "by_fold": [dataclasses.asdict(fold) for fold in measured.per_fold],
        "confusion": confusion(answers, truth).tolist(),
        "reliability": [dataclasses.asdict(one) for one in reliability(answers, truth)],
        "parameters": measured.rows[0].parameters,
        "multiply_adds": measured.rows[0].multiply_adds,
        "training_seconds": [row.training_seconds for row in measured.rows],
        "versions": _versions(measured),
        "machines": sorted({row.machine or "unknown" for row in measured.rows}),
    }


def _opening(measured: Measurement, folder: str) -> tuple[str, ...]:
    configuration, words = measured.rows[0].configuration, measured.words
    also, left_out = configuration.also, measured.left_out
    init = (
        f"Every fold begins with {configuration.init_name} (SHA-256 {configuration.init_sha256}) "
        "and adapts it: first a new head learns, then all layers at a small rate."
    )
    unfinished = f"seed{'s' if len(left_out) > 1 else ''} {', '.join(map(str, left_out))}"
    return (
        f"# {configuration.network}, {configuration.protocol}",
        _code_states(measured),
        f"{words[0].upper()}{words[1:]}.",
        f"Also in the training of every fold, never tested: {', '.join(also)}." if also else "",
        init if configuration.init_name else "",
        f"{_finished(measured)}; {measured.single.clips} clips; the figures are of "
        f"{measured.heard}, pooled over the folds of a seed.",
        f"Not finished and left out: {unfinished}." if left_out else "",
        "\n".join(["```console", *_commands(measured, folder), "```"]),
    )


def _commands(measured: Measurement, folder: str) -> list[str]:
    """Return the command lines as they were given; if they were not kept, one that repeats all."""
    given = dict.fromkeys(row.command for row in measured.rows if row.command)
    return list(given) or [repeat_command(measured, folder)]


def _code_states(measured: Measurement) -> str:
    """Say that the figures are not of one known commit, where they are not; else empty."""
    commits = sorted({row.commit or "" for row in measured.rows})
    if len(commits) == 1 and commits[0] and not commits[0].endswith("-dirty"):
        return ""
    title = "Several states" if len(commits) > 1 else "State"
    named = [commit.replace("-dirty", " with changes in no commit") for commit in commits]
    return f"**{title} of the code**: {', '.join(name or 'not recorded' for name in named)}."


def _figures_table(measured: Measurement) -> str:
    """Compare one network, the ensemble and other ways of answering."""
    together = _ensemble_name(measured)
    columns: tuple[tuple[str, Callable[[Figures], str]], ...] = (
        ("UAR %", lambda of: _spread(of.uar)),
        ("95 %", lambda of: _interval(of.uar)),
        ("WA %", lambda of: _spread(of.wa)),
        ("95 %", lambda of: _interval(of.wa)),
        ("ECE %", lambda of: _spread(of.ece)),
        ("debiased ECE %", lambda of: _spread(of.debiased_ece)),
        ("NLL", lambda of: f"{of.nll.mean:.3f}"),
        ("surest 80 %: WA %", lambda of: _spread(of.wa_of_surest)),
        ("sure %", lambda of: _spread(of.coverage)),
        ("sure: WA %", lambda of: _spread(of.wa_of_sure)),
    )
    cells = [
        (f"**{name}**" if name == together else name, *(cell(of) for _, cell in columns))
        for name, of in _ways(measured)
        if of
    ]
    return markdown_table([("", *(title for title, _ in columns)), *cells])


def _ways(measured: Measurement) -> Sequence[tuple[str, Figures | None]]:
    """Return the figures of each way of answering, by name."""
    seeds, together = len(measured.seeds), _ensemble_name(measured)
    among = f"answers among {', '.join(measured.protocol.tested)}"
    return (
        ("one network" + (f", mean of {seeds} seeds" if seeds > 1 else ""), measured.single),
        (together, measured.together),
        (f"one network, {among}", measured.among_tested),
        (f"{together}, {among}", measured.together_among_tested),
        ("one network, temperature 1", measured.untempered),
        ("one network, normalised by speaker", measured.normalised),
    )


def _legend(measured: Measurement) -> tuple[str, ...]:
    alone = len(measured.per_fold) == 1 and not measured.per_fold[0].validation_speakers
    uncalibrated = "Uncalibrated: without other folds nothing can set the temperature."
    normalised = _NORMALISED if measured.normalised else ""
    return _LEGEND, normalised, uncalibrated if alone else ""


def _recalls_table(measured: Measurement) -> str:
    rows = [("one network", measured.single), (_ensemble_name(measured), measured.together)]
    recalls = [
        (name, *(f"{100 * recall:.0f}" for recall in of.recalls.values()))
        for name, of in rows
        if of
    ]
    return markdown_table([("recall %", *measured.single.recalls), *recalls])


def _seconds_table(measured: Measurement) -> str:
    """List UAR and WA for each length of speech that was heard."""
    figures = measured.heard_figures()
    names = ["the whole speech" if name == WHOLE else f"{name} s" for name in figures]
    uars, was = zip(*figures.values(), strict=True)
    return markdown_table(
        [("heard", *names), ("UAR %", *map(percent, uars)), ("WA %", *map(percent, was))]
    )


def _folds_table(measured: Measurement) -> str:
    """List the folds; of unseen corpora also what goes to labels that are not tested."""
    head: tuple[str, ...] = ("fold", "tested", "clips", "UAR %", "WA %", "temperature")
    head += ("sure %", "sure: WA %")
    rows = [_fold_row(fold) for fold in measured.per_fold]
    means = measured.mean_over_folds()
    if means is not None:
        uar, among, sure, right = map(percent, means.values())
        more = (
            "UAR % among the tested labels",
            "mass on other labels %",
            "of it, labels it lacks %",
        )
        head, rows = head + more, [*rows, ("mean", "", "", uar, "", "", sure, right, among, "", "")]
    return markdown_table([head, *rows])


def _fold_row(fold: FoldFigures) -> tuple[str, ...]:
    speakers = fold.test_speakers
    row = (
        fold.name,
        ", ".join(speakers) if len(speakers) <= 5 else f"{len(speakers)} speakers",
        str(fold.test_clips),
        _spread(fold.uar),
        _spread(fold.wa),
        ", ".join(f"{value:.2f}" for value in fold.temperatures),
        _spread(fold.coverage),
        _spread(fold.wa_of_sure),
    )
    if fold.among_tested is None:
        return row
    masses = (percent(mass or 0.0) for mass in (fold.untested_mass, fold.missing_mass))
    return (*row, _spread(fold.among_tested), *masses)


def _speakers(measured: Measurement) -> str:
    accuracy = {of.speaker: of.wa for of in measured.speakers()}
    values = 100 * np.array(list(accuracy.values()))
    if len(values) < 2:
        return f"Only {next(iter(accuracy))} was tested."
    worst, best = min(accuracy, key=accuracy.__getitem__), max(accuracy, key=accuracy.__getitem__)
    return (
        f"Accuracy over the {len(values)} speakers: {values.mean():.1f} ± {values.std(ddof=1):.1f} "
        f"%, from {values.min():.1f} % ({worst}) to {values.max():.1f} % ({best})."
    )


def _training(measured: Measurement) -> str:
    recipe = measured.rows[0].configuration.recipe
    # Where the number of clips decided on the epochs, the folds took what their records say.
    lengths = {recipe["epochs"] or len(row.history) for row in measured.rows}
    epochs = " to ".join(str(length) for length in sorted({min(lengths), max(lengths)}))
    batch = f" of {recipe['batch_clips']} clips a batch" if recipe["batch_clips"] else ""
    seconds = [r.training_seconds for r in measured.rows if r.training_seconds is not None]
    versions = _versions(measured)
    machines = sorted({row.machine for row in measured.rows if row.machine})
    first = measured.rows[0]
    size = size_words(first.parameters, first.multiply_adds, first.window)
    commits = sorted({row.commit for row in measured.rows if row.commit})
    settings = ", ".join(f"{k} = {v}" for k, v in measured.rows[0].configuration.settings)
    sentences = (
        f"{epochs} epochs{batch}, last epoch.",
        f"Set: {settings}." if settings else "",
        size,
        f"A fold took {np.mean(seconds) / 60:.1f} minutes in the mean." if seconds else "",
        f"On {'; '.join(machines)}." if machines else "",
        f"Made with {', '.join(versions)}." if versions else "",
        f"Commit {', '.join(commits)}." if commits else "",
    )
    return " ".join(filter(None, sentences))


def _versions(measured: Measurement) -> list[str]:
    return sorted({f"{k} {v}" for row in measured.rows for k, v in row.versions.items()})


def _plots(drawn: Sequence[str], *names: str) -> str:
    titles = {name: name.removesuffix(".png").replace("_", " ") for name in names if name in drawn}
    return "\n".join(f"![{title}]({name})" for name, title in titles.items())


def _ensemble_name(measured: Measurement) -> str:
    return f"ensemble of the {len(measured.seeds)} seeds"


def _finished(measured: Measurement) -> str:
    folds = f"{len(measured.rows)} of {len(measured.seeds) * measured.rows[0].folds} folds"
    seeds = ", ".join(str(seed) for seed in measured.seeds)
    return f"{folds}, seed{'s' if len(measured.seeds) > 1 else ''} {seeds}"


def _spread(figure: Figure) -> str:
    """Return mean and deviation, both in percent."""
    return percent(figure.mean) + ("" if figure.sd is None else f" ± {percent(figure.sd)}")


def _interval(figure: Figure) -> str:
    interval = figure.interval
    return f"{percent(interval.low)} to {percent(interval.high)}" if interval else ""
