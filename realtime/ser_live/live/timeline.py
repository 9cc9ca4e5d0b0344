"""A recording at a glance: its labels over its waveform, as a picture or as HTML."""

import html
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_live.engine.channels import picked_channels
from ser_live.engine.segments import UNCERTAIN
from ser_live.errors import SerError
from ser_live.live.recognition import Recognition
from ser_live.output.label_colors import label_colors
from ser_live.sources.audio_reader import AudioReader
from ser_live.text import quoted, sanitize

_BINS = 1600
_INK, _GREY, _FAINT = "#1f2430", "#7a8290", "#c3c8d0"
_PALE, _UNCERTAIN_COLOR = "#e9ebee", "#bcc2cb"
_WIDTH_INCHES, _LANE_INCHES, _FRAME_INCHES = 12.0, 1.5, 1.25
_NARROWEST_TEXT = 0.0065
"""Width of a letter of the ribbon, as a share of the picture's."""
_STRIPES = f"repeating-linear-gradient(135deg,{_UNCERTAIN_COLOR} 0 3px,transparent 3px 6px)"
_TICKS_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)


def plot(recognition: Recognition, path: str | os.PathLike[str]) -> None:
    """Draw it into a file; see `Recognition.plot`."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - of an extra, and heavy
    except ImportError as error:
        raise SerError(
            "plot() needs matplotlib, which is not installed; install it with pip install "
            "'ser-live[plot]'"
        ) from error
    if not isinstance(path, str | os.PathLike):
        raise SerError(f"path is {quoted(path)}, wanted that of a picture, as talk.png")
    lanes, colors = recognition.by_channel, _colors(recognition)
    height = _FRAME_INCHES + _LANE_INCHES * len(lanes)
    # Not by pyplot, which keeps figures and takes over the screen.
    figure = Figure(figsize=(_WIDTH_INCHES, height), dpi=150, facecolor="white")
    all_axes = figure.subplots(len(lanes), 1, sharex=True, squeeze=False)[:, 0]
    figure.subplots_adjust(
        0.02, 0.62 / height, 0.98, 1 - 0.62 / height, hspace=0.25 if len(lanes) > 1 else 0
    )
    waves = _waveforms(recognition, tuple(lanes))
    for axes, (name, lane), wave in zip(all_axes, lanes.items(), waves, strict=True):
        _draw_lane(axes, lane, wave, colors)
        if name != "mix":
            axes.set_title(name, loc="left", fontsize=9, color=_GREY, pad=2)
    _draw_time(all_axes[-1], recognition.audio_seconds)
    figure.text(
        0.02, 1 - 0.22 / height, sanitize(Path(recognition.path).name),
        fontsize=12, fontweight="bold", color=_INK, va="center",
    )  # fmt: skip
    figure.text(
        0.98, 1 - 0.22 / height, f"{_clock(recognition.audio_seconds)} · {recognition.model}",
        fontsize=9, color=_GREY, ha="right", va="center",
    )  # fmt: skip
    _draw_legend(figure, recognition, colors)
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:  # an ending that says nothing is a ValueError
        raise SerError(
            f"{sanitize(os.fspath(path))}: cannot write the picture ({sanitize(error)})"
        ) from error


def to_html(recognition: Recognition) -> str:
    """Return it as HTML without scripts, for notebooks; light and dark."""
    colors, seconds = _colors(recognition), max(recognition.audio_seconds, 1e-9)
    parts = [
        '<div style="font:13px system-ui,sans-serif;max-width:60em">',
        f"<b>{html.escape(sanitize(Path(recognition.path).name))}</b> "
        f'<span style="opacity:.65">{_clock(seconds)} · {html.escape(recognition.model)}</span>',
    ]
    for name, lane in recognition.by_channel.items():
        blocks = "".join(
            f'<div title="{html.escape(_words(one))}" style="position:absolute;top:0;height:100%;'
            f"left:{100 * one.start_seconds / seconds:.3f}%;"
            f"width:{100 * (one.end_seconds - one.start_seconds) / seconds:.3f}%;"
            f'background:{_STRIPES if one.label == UNCERTAIN else colors[one.label]}"></div>'
            for one in lane.segments
        )
        title = "" if name == "mix" else f'<div style="opacity:.65">{html.escape(name)}</div>'
        parts.append(
            f'{title}<div style="position:relative;height:22px;margin:4px 0;border-radius:4px;'
            f'overflow:hidden;background:rgba(128,128,128,.18)">{blocks}</div>'
        )
    legend = "".join(
        f'<span style="white-space:nowrap;margin-right:1.2em"><span style="display:inline-block;'
        f"width:.8em;height:.8em;border-radius:2px;margin-right:.4em;background:{color}"
        f'"></span>{html.escape(words)}</span> '
        for words, color in _legend(recognition, colors)
    )
    notes = "".join(
        f'<div style="opacity:.65">{html.escape(note)}</div>' for note in recognition.notes
    )
    return "".join((*parts, f"<div>{legend}</div>", notes, "</div>"))


def _colors(recognition: Recognition) -> dict[str, str]:
    return {**label_colors(recognition.labels), UNCERTAIN: _UNCERTAIN_COLOR}


def _legend(recognition: Recognition, colors: dict[str, str]) -> list[tuple[str, str]]:
    """Return words and colour of what there was: labels by their share, the states behind them."""
    shares = {name: share for name, share in recognition.summary.shares.items() if share > 0}
    labels = sorted(recognition.labels, key=lambda name: -shares.get(name, 0.0))
    names = [*labels, UNCERTAIN, "warming_up", "silence"]
    return [
        (f"{name.replace('_', ' ')} {100 * shares[name]:.0f} %", colors.get(name, _PALE))
        for name in names
        if name in shares
    ]


def _words(segment: Any) -> str:
    times = f"{_clock(segment.start_seconds)} to {_clock(segment.end_seconds)}"
    return f"{segment.label} {100 * segment.mean_confidence:.0f} %, {times}"


def _draw_lane(
    axes: Any, lane: Recognition, wave: NDArray[np.float32], colors: dict[str, str]
) -> None:
    """Draw the waveform, in the colour of what was heard, over a ribbon of the labels."""
    whole = max(lane.audio_seconds, 1e-9)
    at = (np.arange(len(wave)) + 0.5) * whole / max(1, len(wave))
    loudest = max(float(wave.max(initial=0.0)), 1e-3)
    heights = wave / loudest
    axes.fill_between(at, -heights, heights, color=_FAINT, linewidth=0)
    for one in lane.segments:
        color = colors[one.label]
        inside = (at >= one.start_seconds) & (at <= one.end_seconds)
        axes.axvspan(one.start_seconds, one.end_seconds, color=color, alpha=0.10, linewidth=0)
        axes.fill_between(at, -heights, heights, where=inside, color=color, linewidth=0)
        width = one.end_seconds - one.start_seconds
        is_unsure = one.label == UNCERTAIN
        axes.barh(
            -1.45, width, 0.5, one.start_seconds, linewidth=0.8, hatch="////" * is_unsure,
            color=_PALE if is_unsure else color, edgecolor=color if is_unsure else "white",
        )  # fmt: skip
        if width / whole > _NARROWEST_TEXT * (len(one.label) + 1):
            axes.text(
                one.start_seconds + width / 2, -1.47, one.label,
                ha="center", va="center", fontsize=8, fontweight="bold",
                color=_INK if is_unsure else "white",
            )  # fmt: skip
    axes.set(xlim=(0, whole), ylim=(-1.75, 1.08), yticks=[])
    axes.spines[:].set_visible(False)
    axes.tick_params(axis="x", length=0, labelbottom=False)


def _draw_time(axes: Any, seconds: float) -> None:
    step = next((step for step in _TICKS_SECONDS if seconds / step <= 12), _TICKS_SECONDS[-1])
    ticks = np.arange(0, seconds + 1e-9, step)
    axes.set_xticks(ticks, [_clock(tick) for tick in ticks])
    axes.tick_params(axis="x", length=3, labelbottom=True, labelsize=8, colors=_GREY)


def _draw_legend(figure: Any, recognition: Recognition, colors: dict[str, str]) -> None:
    from matplotlib.patches import Patch  # noqa: PLC0415 - it is there by now

    found = _legend(recognition, colors)
    figure.legend(
        [Patch(color=color) for _, color in found], [words for words, _ in found],
        loc="lower left", bbox_to_anchor=(0.013, 0.0), ncols=max(1, len(found)), frameon=False,
        fontsize=9, labelcolor=_INK, handlelength=0.9, handleheight=0.9, columnspacing=1.6,
    )  # fmt: skip


def _waveforms(recognition: Recognition, names: tuple[str, ...]) -> list[NDArray[np.float32]]:
    """Return the highest absolute samples of equal parts of the recording, for each channel."""
    peaks: list[NDArray[np.float32]] = []
    frames = round(recognition.audio_seconds * recognition.sample_rate_hz)
    with AudioReader(recognition.path) as reader:
        size = max(1, -(-frames // _BINS))
        picked = picked_channels(",".join(names), reader.channels)
        while len(samples := reader.read(size)):
            lanes = samples[:, picked] if picked else samples.mean(axis=1, keepdims=True)
            peaks.append(np.abs(lanes).max(axis=0))
    return list(np.stack(peaks, axis=1))


def _clock(seconds: float) -> str:
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{whole:02d}" if hours else f"{minutes}:{whole:02d}"
