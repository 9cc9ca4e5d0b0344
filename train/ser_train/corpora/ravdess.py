"""RAVDESS: 24 North American actors, two sentences, eight emotions (Livingstone, Russo 2018).

``Actor_AA/03-01-EE-II-SS-RR-AA.wav``: modality, channel, emotion, intensity, statement,
repetition, actor. Odd actors are men. Modality 03 is sound alone, channel 01 speech: song and
the sound of videos are left out.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from ser_train.corpora.clip import LABELS, Clip
from ser_train.corpora.corpus import Corpus, audio_in

_EMOTIONS = LABELS[:8]
_NAME = re.compile(r"03-01-0([1-8])-0([12])-0[12]-0[12]-(\d\d)")


def _find(folder: Path) -> Iterator[tuple[str, Clip]]:
    for path in audio_in(folder, *sorted(folder.glob("Actor_*"))):
        match = _NAME.fullmatch(path.stem)
        if match:
            emotion, intensity, actor = match.groups()
            yield (
                path.stem,
                Clip(
                    path,
                    _EMOTIONS[int(emotion) - 1],
                    f"ravdess/{actor}",
                    "ravdess",
                    "male" if int(actor) % 2 else "female",
                    "strong" if intensity == "2" else "normal",
                ),
            )


CORPUS = Corpus(
    name="ravdess",
    title="RAVDESS",
    licence="CC-BY-NC-SA-4.0",
    layout="Actor_01",
    speakers=tuple(f"{actor:02d}" for actor in range(1, 25)),
    counts=tuple((label, 96 if label == "neutral" else 192) for label in _EMOTIONS),
    find=_find,
)
