"""TESS: two Canadian women, 200 words, seven emotions (Pichora-Fuller, Dupuis 2020).

``OAF_angry/OAF_back_angry.wav``: speaker (of 64 or 26 years), word, emotion, where ``ps`` is a
pleasant surprise. The published archive spells one speaker ``OA`` and its folders now with small
and now with capital letters; a much copied archive holds everything twice, one inside the other.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from ser_train.corpora.clip import Clip
from ser_train.corpora.corpus import Corpus, audio_in, folders_in

_LABELS = {
    "angry": "angry",
    "disgust": "disgust",
    "fear": "fearful",
    "happy": "happy",
    "neutral": "neutral",
    "ps": "surprised",
    "sad": "sad",
}
_NAME = re.compile(r"([oy])af?_([a-z'-]+)_(angry|disgust|fear|happy|neutral|ps|sad)")


def _find(folder: Path) -> Iterator[tuple[str, Clip]]:
    inside = [child for child in folders_in(folder) if child.name.lower().startswith("tess")]
    for place in (folder, *inside):
        emotions = [
            child for child in folders_in(place) if child.name.lower().startswith(("oaf_", "yaf_"))
        ]
        for path in audio_in(place, *emotions):
            match = _NAME.fullmatch(path.stem.lower())
            if match:
                letter, word, emotion = match.groups()
                speaker = f"{letter.upper()}AF"
                yield (
                    f"{speaker}_{word}_{emotion}",
                    Clip(path, _LABELS[emotion], f"tess/{speaker}", "tess", "female"),
                )


CORPUS = Corpus(
    name="tess",
    title="TESS",
    licence="CC-BY-NC-ND-4.0",
    layout="OAF_angry",
    speakers=("OAF", "YAF"),
    counts=tuple((label, 400) for label in _LABELS.values()),
    find=_find,
)
