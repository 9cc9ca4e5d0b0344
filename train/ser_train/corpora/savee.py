"""SAVEE: four British men, 120 sentences, seven emotions (Haq, Jackson 2009).

``AudioData/DC/a01.wav``: speaker, emotion, number; a much copied archive has all in one folder,
as ``ALL/DC_a01.wav``.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from ser_train.corpora.clip import Clip
from ser_train.corpora.corpus import Corpus, audio_in

_LABELS = {
    "a": "angry",
    "d": "disgust",
    "f": "fearful",
    "h": "happy",
    "n": "neutral",
    "sa": "sad",
    "su": "surprised",
}
_SPEAKERS = ("DC", "JE", "JK", "KL")
_NAME = re.compile(r"(?:(DC|JE|JK|KL)_)?(sa|su|a|d|f|h|n)(\d\d)")


def _find(folder: Path) -> Iterator[tuple[str, Clip]]:
    for place in (folder, folder / "AudioData", folder / "ALL"):
        for path in audio_in(place, *(place / speaker for speaker in _SPEAKERS)):
            match = _NAME.fullmatch(path.stem)
            speaker = match and (match[1] or path.absolute().parent.name)
            if match and speaker in _SPEAKERS:
                clip = Clip(path, _LABELS[match[2]], f"savee/{speaker}", "savee", "male")
                yield f"{speaker}_{match[2]}{match[3]}", clip


CORPUS = Corpus(
    name="savee",
    title="SAVEE",
    licence="LicenseRef-SAVEE",
    layout="AudioData",
    speakers=_SPEAKERS,
    counts=tuple((label, 120 if label == "neutral" else 60) for label in _LABELS.values()),
    find=_find,
)
