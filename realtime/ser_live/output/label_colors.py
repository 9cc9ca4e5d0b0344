"""Colours of the labels, on a terminal and in pictures."""

import itertools
from collections.abc import Iterable

# Middling luminances: each has a contrast of 3 or more both to white and to nearly black.
_LABEL_COLORS = {
    "neutral": "#7f8a99",
    "calm": "#1f9a8a",
    "happy": "#b78f00",
    "sad": "#4a7fe0",
    "angry": "#d9483b",
    "fearful": "#9a6be0",
    "disgust": "#5f9a2e",
    "surprised": "#d2701c",
}
_SPARE_COLORS = ("#c25b93", "#2f8fb5", "#96855a", "#3f9a63", "#a8694b")


def label_colors(labels: Iterable[str]) -> dict[str, str]:
    """Return a colour for every label: the usual ones theirs, others what is left."""
    spare = itertools.cycle(_SPARE_COLORS)
    return {label: _LABEL_COLORS.get(label) or next(spare) for label in labels}
