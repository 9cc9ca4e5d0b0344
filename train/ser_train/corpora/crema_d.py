"""CREMA-D: 91 actors, twelve English sentences, six emotions (Cao et al. 2014).

``AudioWAV/AAAA_SEN_EMO_LV.wav``: actor, sentence, emotion, level. One published file names its
level X instead of XX. A clone without Git LFS holds small texts in place of the recordings.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from ser_train.corpora.clip import Clip, Sex
from ser_train.corpora.corpus import Corpus, audio_in

_LABELS = {
    "ANG": "angry",
    "DIS": "disgust",
    "FEA": "fearful",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}
_ACTORS = tuple(str(actor) for actor in range(1001, 1092))
# From VideoDemographics.csv of the corpus, which copies of the recordings alone lack.
_WOMEN = (
    1002, 1003, 1004, 1006, 1007, 1008, 1009, 1010, 1012, 1013, 1018, 1020, 1021, 1024, 1025,
    1028, 1029, 1030, 1037, 1043, 1046, 1047, 1049, 1052, 1053, 1054, 1055, 1056, 1058, 1060,
    1061, 1063, 1072, 1073, 1074, 1075, 1076, 1078, 1079, 1082, 1084, 1089, 1091,
)  # fmt: skip
_NAME = re.compile(
    r"(1\d{3})_(IEO|TIE|IOM|IWW|TAI|MTI|IWL|ITH|DFA|ITS|TSI|WSI)"
    r"_(ANG|DIS|FEA|HAP|NEU|SAD)_(LO|MD|HI|XX?)"
)


def _find(folder: Path) -> Iterator[tuple[str, Clip]]:
    for path in audio_in(folder, folder / "AudioWAV"):
        match = _NAME.fullmatch(path.stem)
        if match and match[1] in _ACTORS:
            actor, sentence, emotion, level = match.groups()
            sex: Sex = "female" if int(actor) in _WOMEN else "male"
            yield (
                f"{actor}_{sentence}_{emotion}_{level[:1]}",
                Clip(path, _LABELS[emotion], f"crema_d/{actor}", "crema_d", sex),
            )


CORPUS = Corpus(
    name="crema_d",
    title="CREMA-D",
    licence="ODbL-1.0",
    layout="AudioWAV",
    speakers=_ACTORS,
    counts=tuple((label, 1087 if label == "neutral" else 1271) for label in _LABELS.values()),
    find=_find,
)
