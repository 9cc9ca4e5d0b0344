"""EMO-DB, the Berlin database: ten German actors, ten sentences (Burkhardt et al. 2005).

``wav/SSTTTEv.wav``: speaker, text, first letter of the German emotion, version.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from ser_train.corpora.clip import Clip, Sex
from ser_train.corpora.corpus import Corpus, audio_in

_LABELS = {
    "W": "angry",
    "L": "boredom",
    "E": "disgust",
    "A": "fearful",
    "F": "happy",
    "T": "sad",
    "N": "neutral",
}
_SEXES: dict[str, Sex] = {
    **dict.fromkeys(("03", "10", "11", "12", "15"), "male"),
    **dict.fromkeys(("08", "09", "13", "14", "16"), "female"),
}
_NAME = re.compile(r"(\d\d)[ab]\d\d([WLEAFTN])[a-z]")


def _find(folder: Path) -> Iterator[tuple[str, Clip]]:
    for path in audio_in(folder, folder / "wav"):
        match = _NAME.fullmatch(path.stem)
        if match:
            speaker, emotion = match.groups()
            sex: Sex | None = _SEXES.get(speaker)
            yield path.stem, Clip(path, _LABELS[emotion], f"emodb/{speaker}", "emodb", sex)


CORPUS = Corpus(
    name="emodb",
    title="EMO-DB",
    licence="CC-BY-4.0",
    layout="wav",
    speakers=tuple(sorted(_SEXES)),
    counts=(
        ("angry", 127),
        ("boredom", 81),
        ("neutral", 79),
        ("happy", 71),
        ("fearful", 69),
        ("sad", 62),
        ("disgust", 46),
    ),
    find=_find,
)
