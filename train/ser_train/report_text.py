"""A cross-validation in words and tables."""

from collections.abc import Sequence

from ser_train.figures import Figure, Figures, Measurement


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
            f"ensemble of the {len(measured.seeds)} seeds: UAR "
            f"{100 * measured.together.uar.mean:.1f} %   WA {100 * measured.together.wa.mean:.1f} %"
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


def markdown(measured: Measurement, folder: str) -> tuple[str, ...]:
    """Give the report as lines of Markdown; its pictures lie beside it."""
    configuration = measured.rows[0].configuration
    return (
        f"# {configuration.network}, {configuration.protocol}",
        "",
        f"{measured.protocol.words[0].upper()}{measured.protocol.words[1:]}.",
        *_also(measured),
        "",
        *_figures_table(measured),
    )


def _also(measured: Measurement) -> list[str]:
    also = ", ".join(measured.rows[0].configuration.also)
    return ["", f"Also in the training of every fold, never tested: {also}."] if also else []


def _figures_table(measured: Measurement) -> list[str]:
    rows = [_figures_row("one network", measured.single)]
    if measured.together:
        rows.append(_figures_row(f"ensemble of the {len(measured.seeds)} seeds", measured.together))
    return [
        "| | UAR % | WA % | ECE % | excess ECE % | NLL | surest 80 %: WA % |",
        "|---|---|---|---|---|---|---|",
        *rows,
    ]


def _figures_row(name: str, figures: Figures) -> str:
    cells: Sequence[str] = (
        name,
        _percent(figures.uar),
        _percent(figures.wa),
        _percent(figures.ece),
        _percent(figures.excess_ece),
        f"{figures.nll.mean:.3f}",
        _percent(figures.wa_of_surest),
    )
    return "| " + " | ".join(cells) + " |"


def _finished(measured: Measurement) -> str:
    folds = f"{len(measured.rows)} of {len(measured.seeds) * measured.folds} folds"
    seeds = (
        f"seed {measured.seeds[0]}" if len(measured.seeds) == 1 else f"{len(measured.seeds)} seeds"
    )
    return f"{folds}, {seeds}"


def _percent(figure: Figure) -> str:
    spread = "" if figure.sd is None else f" ± {100 * figure.sd:.1f}"
    return f"{100 * figure.mean:.1f}{spread}"
