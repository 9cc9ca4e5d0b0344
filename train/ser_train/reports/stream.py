"""A measured stream in words: lines for a terminal, a page of Markdown, JSON."""

import dataclasses
from pathlib import Path

from ser_train.evaluation.live.stream_figures import StreamFigures, StreamResult
from ser_train.evaluation.live.stream_measures import Calibration
from ser_train.evaluation.live.stream_track import PAUSE_SECONDS, ROOM_DBFS, SPEAKER_DBFS
from ser_train.reports.markdown import markdown_table, write_json, write_page
from ser_train.reports.stream_plots import draw_timeline, draw_times

WANTED_MEDIAN_SECONDS = 2.0
WANTED_P90_SECONDS = 3.0
WANTED_GAIN_SHARE = 0.01


def lines(figures: StreamFigures) -> tuple[str, ...]:
    """Give the figures as lines of text for a person."""
    out = [f"{figures.protocol}; {_stream(figures)}:"]
    for title, rows in _tables(figures):
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        out += ["", title]
        out += [
            "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            for row in rows
        ]
    return tuple(line.rstrip() for line in out)


def write_report(folder: Path, result: StreamResult) -> None:
    """Write ``stream.md`` with its pictures, and ``stream.json``, into a folder."""
    figures = result.figures
    draw_timeline(
        folder / "stream-timeline.png", result.heard, result.predictions, figures.hop_seconds
    )
    draw_times(folder / "stream-times.png", result.heard)
    write_page(folder / "stream.md", _page(figures))
    write_json(folder / "stream.json", dataclasses.asdict(figures))


def _page(figures: StreamFigures) -> list[str]:
    page = [f"# {figures.model} on a stream", "", f"{figures.protocol}; {_stream(figures)}.", ""]
    page += [
        f"The recordings follow each other in a random order, with {PAUSE_SECONDS:g} s from each "
        "end of speech to the next onset: the recordings' own background where they have some, "
        f"faded into pink noise of {ROOM_DBFS:g} dBFS, which lies under the whole stream as a "
        "quiet room does. One gain for each speaker brings the median level of their speech to "
        f"{SPEAKER_DBFS:g} dBFS. Onset and end are found by energy. A label "
        "counts for a recording from its onset to the next one, when no earlier recording is in "
        "the window; labels in state uncertain count, and are also counted apart. Clips without "
        "any label count as wrong.",
        "",
    ]
    for title, rows in _tables(figures):
        page += [f"## {title[0].upper()}{title[1:]}", "", *markdown_table(rows), ""]
    page += [
        "## Pictures",
        "",
        "![Truth, stable label and confidence of the first recordings](stream-timeline.png)",
        "",
        "![Time to the stable label](stream-times.png)",
    ]
    return page


def _stream(figures: StreamFigures) -> str:
    minutes = figures.seconds / 60.0
    return (
        f"a stream of {figures.recordings} recordings, {minutes:.1f} minutes, a prediction every "
        f"{figures.hop_seconds:g} s, gate and smoothing as the card of {figures.model} has them"
    )


def _tables(figures: StreamFigures) -> list[tuple[str, list[tuple[str, ...]]]]:
    return [
        ("accuracy", _accuracy(figures)),
        ("seconds from the true onset", _times(figures)),
        ("steadiness", _steadiness(figures)),
        ("confidence", _confidence(figures)),
        ("emotion in a minute without speech", _false_emotions(figures)),
    ]


def _accuracy(figures: StreamFigures) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("what", "of", "UAR %", "WA %", "recordings")]
    for one in figures.accuracy:
        for what, found in (
            ("the last stable label", one.named),
            ("offline, the first window", one.offline),
        ):
            rows.append((what, one.name, _percent(found.uar), _percent(found.wa), str(found.count)))
    rows.append(("every label of the stream", "all", "", _percent(figures.right_share), ""))
    return [*rows, ("without any label", "all", "", "", str(figures.unnamed))]


def _times(figures: StreamFigures) -> list[tuple[str, ...]]:
    rows = (
        ("first label", figures.first),
        (
            f"first correct label (wanted {WANTED_MEDIAN_SECONDS:g} and {WANTED_P90_SECONDS:g})",
            figures.first_correct,
        ),
        ("first correct label in state speech", figures.first_sure_correct),
        ("last change", figures.last_change),
    )
    return [
        ("to", "median", "p90", "recordings that have it"),
        *((name, _seconds(t.median), _seconds(t.p90), f"{t.count} of {t.of}") for name, t in rows),
    ]


def _steadiness(figures: StreamFigures) -> list[tuple[str, ...]]:
    most = f"{100 * WANTED_GAIN_SHARE:g} %"
    return [
        ("what", "value"),
        ("label changes a minute, inside recordings", f"{figures.changes_per_minute:.2f}"),
        ("labels in state uncertain", f"{_percent(figures.uncertain_share)} %"),
        ("labels after an onset that still hear an earlier recording", str(figures.mixed)),
        *(
            (
                f"state or label differs at {gain_db:+g} dB (wanted <= {most})",
                f"{100 * share:.3f} %",
            )
            for gain_db, share in figures.gains
        ),
    ]


def _confidence(figures: StreamFigures) -> list[tuple[str, ...]]:
    head = ("smoothed probabilities of", "ECE %", "excess ECE %", "NLL", "count")
    if figures.confidence is None:
        return [head, ("no recording has a label", "", "", "", "0")]
    end, throughout = figures.confidence.at_the_end, figures.confidence.throughout
    return [
        head,
        _calibration("the last label of each recording", end),
        _calibration("every label (neighbours depend on each other)", throughout),
    ]


def _calibration(name: str, found: Calibration) -> tuple[str, ...]:
    return (
        name,
        _percent(found.ece),
        _percent(found.excess_ece),
        f"{found.nll:.3f}",
        str(found.count),
    )


def _false_emotions(figures: StreamFigures) -> list[tuple[str, ...]]:
    return [
        ("sound", "seconds of emotion", "seconds uncertain"),
        *(
            (one.sound, f"{one.emotion_seconds:.2f}", f"{one.uncertain_seconds:.2f}")
            for one in figures.false_emotions
        ),
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.2f}"
