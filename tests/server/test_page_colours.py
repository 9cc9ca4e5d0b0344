"""The colours of the page: legible in both themes, and told apart by the colour-blind."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import ser_live

STYLE = Path(ser_live.__file__).parent / "server" / "page" / "style.css"
LABELS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
THEMES = ("light", "dark")

# Machado, Oliveira and Fernandes 2009, severity 1; they multiply linear sRGB.
BLINDNESS = {
    "none": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
# Ottosson 2020, Oklab: Euclidean distances in it are about how different colours look.
TO_CONES = [
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
]
TO_LAB = [
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
]
LEAST_DISTANCE = 0.06  # that of two neighbours in Okabe and Ito's palette is 0.05


def color(name: str, theme: str, tone: str | None = None) -> NDArray[np.float64]:
    """Colour (sRGB, 0 to 1) of a custom property, of the whole page or of a label."""
    style = STYLE.read_text("utf-8")
    block = style if tone is None else style.split(f'[data-tone="{tone}"]', 1)[1].split("}")[0]
    found = re.search(rf"--{name}: light-dark\((#\w{{6}}), (#\w{{6}})\)", block)
    assert found is not None, name
    code = found[1 + THEMES.index(theme)]
    return np.array([int(code[at : at + 2], 16) for at in (1, 3, 5)]) / 255


def linear(color: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)


def contrast(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The ratio of WCAG 2."""
    luminances = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (one, other))
    return (luminances[1] + 0.05) / (luminances[0] + 0.05)


def oklab(light: NDArray[np.float64]) -> NDArray[np.float64]:
    cones = np.cbrt(np.clip(np.array(TO_CONES) @ light, 0, None))
    return np.array(TO_LAB) @ cones


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("background", ["card", "page"])
def test_words_stand_out(theme: str, background: str) -> None:
    behind = color(background, theme)
    for name in ("text", "muted", "danger"):
        assert contrast(color(name, theme), behind) >= 4.5, name
    assert contrast(color("edge", theme), behind) >= 3.0  # borders of what can be pressed


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("label", LABELS)
def test_names_of_emotions_stand_out(theme: str, label: str) -> None:
    ink, fill, card = color("ink", theme, label), color("fill", theme, label), color("card", theme)
    assert contrast(ink, card) >= 4.5
    tint = 0.1 * fill + 0.9 * card  # behind the large word, and behind a segment
    assert contrast(ink, tint) >= 3.0
    for behind in (card, color("page", theme), tint):  # the page's is that of an empty bar
        assert contrast(fill, behind) >= 3.0


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("blindness", BLINDNESS)
def test_emotions_are_told_apart(theme: str, blindness: str) -> None:
    seen = {
        label: oklab(np.array(BLINDNESS[blindness]) @ linear(color("fill", theme, label)))
        for label in LABELS
    }
    for one, other in itertools.combinations(LABELS, 2):
        assert np.linalg.norm(seen[one] - seen[other]) >= LEAST_DISTANCE, (one, other)
