"""The tables of a cross-validation's report, as Markdown."""

from ser_train.cross_validation.figures import Figure, Figures
from ser_train.cross_validation.measurement import FoldFigures, Measurement
from ser_train.cross_validation.posteriors import WHOLE
from ser_train.reports.markdown import markdown_table


def figures_table(measured: Measurement) -> list[str]:
    """Compare one network, the ensemble and what answers otherwise."""
    seeds = len(measured.seeds)
    rows = [
        _figures_row(
            "one network" + (f", mean of {seeds} seeds" if seeds > 1 else ""), measured.single
        )
    ]
    if measured.together:
        rows.append(_figures_row(f"**{ensemble_name(measured)}**", measured.together))
    among = f"answers among {', '.join(measured.protocol.tested)}"
    if measured.among_tested:
        rows.append(_figures_row(f"one network, {among}", measured.among_tested))
    if measured.together_among_tested:
        rows.append(
            _figures_row(f"{ensemble_name(measured)}, {among}", measured.together_among_tested)
        )
    rows.append(_figures_row("one network, temperature 1", measured.untempered))
    if measured.normalised:
        rows.append(_figures_row("one network, normalised by speaker", measured.normalised))
    header = (
        "", "UAR %", "95 %", "WA %", "95 %", "ECE %", "excess ECE %", "NLL", "surest 80 %: WA %"
    )  # fmt: skip
    return markdown_table([header, *rows])


def _figures_row(name: str, figures: Figures) -> tuple[str, ...]:
    return (
        name,
        percent(figures.uar),
        _interval(figures.uar),
        percent(figures.wa),
        _interval(figures.wa),
        percent(figures.ece),
        percent(figures.excess_ece),
        f"{figures.nll.mean:.3f}",
        percent(figures.wa_of_surest),
    )


def recalls_table(measured: Measurement) -> list[str]:
    """Give the recall of each label."""
    rows = [("one network", *(f"{100 * r:.0f}" for r in measured.single.recalls.values()))]
    if measured.together:
        shares = measured.together.recalls.values()
        rows.append((ensemble_name(measured), *(f"{100 * r:.0f}" for r in shares)))
    return markdown_table([("recall %", *measured.single.recalls), *rows])


def seconds_table(measured: Measurement) -> list[str]:
    """Give UAR and WA for each length of speech that was heard."""
    figures = measured.heard_figures()
    names = ["the whole speech" if name == WHOLE else f"{name} s" for name in figures]
    rows = [
        (what, *(f"{100 * pair[place]:.1f}" for pair in figures.values()))
        for place, what in enumerate(("UAR %", "WA %"))
    ]
    return markdown_table([("heard", *names), *rows])


def folds_table(measured: Measurement) -> list[str]:
    """Give the folds; of unseen corpora also what goes to labels that are not tested."""
    header = ("fold", "tested", "clips", "UAR %", "WA %", "temperature")
    means = measured.mean_over_folds()
    if means is None:
        return markdown_table([header, *(_fold_row(fold) for fold in measured.per_fold)])
    more = ("UAR % among the tested labels", "mass on other labels %", "of it, labels it lacks %")
    rows = [
        (
            *_fold_row(fold),
            percent(fold.among_tested) if fold.among_tested else "",
            f"{100 * (fold.untested_mass or 0.0):.1f}",
            f"{100 * (fold.missing_mass or 0.0):.1f}",
        )
        for fold in measured.per_fold
    ]
    uar, among = (f"{100 * means[name]:.1f}" for name in ("uar", "uar_among_tested"))
    mean = ("mean", "", "", uar, "", "", among, "", "")
    return markdown_table([(*header, *more), *rows, mean])


def _fold_row(fold: FoldFigures) -> tuple[str, ...]:
    who = fold.test_speakers
    tested = ", ".join(who) if len(who) <= 5 else f"{len(who)} speakers"
    temperatures = ", ".join(f"{value:.2f}" for value in fold.temperatures)
    return (
        fold.name,
        tested,
        str(fold.test_clips),
        percent(fold.uar),
        percent(fold.wa),
        temperatures,
    )


def ensemble_name(measured: Measurement) -> str:
    """Name the ensemble of all seeds."""
    return f"ensemble of the {len(measured.seeds)} seeds"


def percent(figure: Figure) -> str:
    """Give mean and deviation, both in percent."""
    spread = "" if figure.sd is None else f" ± {100 * figure.sd:.1f}"
    return f"{100 * figure.mean:.1f}{spread}"


def _interval(figure: Figure) -> str:
    if figure.interval is None:
        return ""
    return f"{100 * figure.interval.low:.1f} to {100 * figure.interval.high:.1f}"
