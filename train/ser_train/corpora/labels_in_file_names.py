"""Corpora whose file names tell label and speaker: RAVDESS, EMO-DB, CREMA-D, SAVEE and TESS."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ser_train.corpora.corpus import LABELS, Clip, Corpus, Sex, Strength, audio_in, folders_in


def _named(pattern: str, paths: Iterable[Path]) -> Iterator[tuple[Path, re.Match[str]]]:
    """Yield the recordings whose whole name, without its ending, fits the pattern."""
    for path in paths:
        match = re.fullmatch(pattern, path.stem)
        if match:
            yield path, match


# RAVDESS: 24 North American actors, two sentences, eight emotions (Livingstone, Russo 2018).
# ``Actor_AA/03-01-EE-II-SS-RR-AA.wav``: modality, channel, emotion, intensity, statement,
# repetition, actor. Odd actors are men. Modality 03 is sound alone, channel 01 speech: song and
# the sound of videos are left out.

_RAVDESS_EMOTIONS = LABELS[:8]
_RAVDESS_NAME = r"03-01-0([1-8])-0([12])-0[12]-0[12]-(\d\d)"


def _find_ravdess(folder: Path) -> Iterator[tuple[str, Clip]]:
    for path, match in _named(_RAVDESS_NAME, audio_in(folder, *sorted(folder.glob("Actor_*")))):
        emotion, intensity, actor = match.groups()
        label = _RAVDESS_EMOTIONS[int(emotion) - 1]
        sex: Sex = "male" if int(actor) % 2 else "female"
        strength: Strength = "strong" if intensity == "2" else "normal"
        yield path.stem, Clip(path, label, f"ravdess/{actor}", "ravdess", sex, strength)


RAVDESS = Corpus(
    name="ravdess",
    title="RAVDESS",
    licence="CC-BY-NC-SA-4.0",
    layout="Actor_01",
    speakers=tuple(f"{actor:02d}" for actor in range(1, 25)),
    counts=tuple((label, 96 if label == "neutral" else 192) for label in _RAVDESS_EMOTIONS),
    find=_find_ravdess,
)

# EMO-DB, the Berlin database: ten German actors, ten sentences (Burkhardt et al. 2005).
# ``wav/SSTTTEv.wav``: speaker, text, first letter of the German emotion, version.

_EMODB_EMOTIONS = {
    "W": ("angry", 127),
    "L": ("boredom", 81),
    "E": ("disgust", 46),
    "A": ("fearful", 69),
    "F": ("happy", 71),
    "T": ("sad", 62),
    "N": ("neutral", 79),
}
"""Label of each letter, and how many clips of it were published."""
_EMODB_SEXES: dict[str, Sex] = {
    **dict.fromkeys(("03", "10", "11", "12", "15"), "male"),
    **dict.fromkeys(("08", "09", "13", "14", "16"), "female"),
}


def _find_emodb(folder: Path) -> Iterator[tuple[str, Clip]]:
    recordings = audio_in(folder, folder / "wav")
    for path, match in _named(r"(\d\d)[ab]\d\d([WLEAFTN])[a-z]", recordings):
        speaker, emotion = match.groups()
        label, _ = _EMODB_EMOTIONS[emotion]
        sex = _EMODB_SEXES.get(speaker)
        yield path.stem, Clip(path, label, f"emodb/{speaker}", "emodb", sex)


EMODB = Corpus(
    name="emodb",
    title="EMO-DB",
    licence="CC-BY-4.0",
    layout="wav",
    speakers=tuple(sorted(_EMODB_SEXES)),
    counts=tuple(_EMODB_EMOTIONS.values()),
    find=_find_emodb,
)

# CREMA-D: 91 actors, twelve English sentences, six emotions (Cao et al. 2014).
# ``AudioWAV/AAAA_SEN_EMO_LV.wav``: actor, sentence, emotion, level. One published file names its
# level X instead of XX. A clone without Git LFS holds small texts in place of the recordings.

_CREMA_D_LABELS = {
    "ANG": "angry",
    "DIS": "disgust",
    "FEA": "fearful",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}
_CREMA_D_ACTORS = tuple(str(actor) for actor in range(1001, 1092))
# From VideoDemographics.csv of the corpus, which copies of the recordings alone lack.
_CREMA_D_WOMEN = (
    1002, 1003, 1004, 1006, 1007, 1008, 1009, 1010, 1012, 1013, 1018, 1020, 1021, 1024, 1025,
    1028, 1029, 1030, 1037, 1043, 1046, 1047, 1049, 1052, 1053, 1054, 1055, 1056, 1058, 1060,
    1061, 1063, 1072, 1073, 1074, 1075, 1076, 1078, 1079, 1082, 1084, 1089, 1091,
)  # fmt: skip
_CREMA_D_NAME = (
    r"(1\d{3})_(IEO|TIE|IOM|IWW|TAI|MTI|IWL|ITH|DFA|ITS|TSI|WSI)"
    r"_(ANG|DIS|FEA|HAP|NEU|SAD)_(LO|MD|HI|XX?)"
)


def _find_crema_d(folder: Path) -> Iterator[tuple[str, Clip]]:
    for path, match in _named(_CREMA_D_NAME, audio_in(folder, folder / "AudioWAV")):
        actor, sentence, emotion, level = match.groups()
        if actor in _CREMA_D_ACTORS:
            sex: Sex = "female" if int(actor) in _CREMA_D_WOMEN else "male"
            clip = Clip(path, _CREMA_D_LABELS[emotion], f"crema_d/{actor}", "crema_d", sex)
            yield f"{actor}_{sentence}_{emotion}_{level[:1]}", clip


CREMA_D = Corpus(
    name="crema_d",
    title="CREMA-D",
    licence="ODbL-1.0",
    layout="AudioWAV",
    speakers=_CREMA_D_ACTORS,
    counts=tuple(
        (label, 1087 if label == "neutral" else 1271) for label in _CREMA_D_LABELS.values()
    ),
    find=_find_crema_d,
)

# SAVEE: four British men, 120 sentences, seven emotions (Haq, Jackson 2009).
# ``AudioData/DC/a01.wav``: speaker, emotion, number; a much copied archive has all in one folder,
# as ``ALL/DC_a01.wav``.

_SAVEE_LABELS = {
    "a": "angry",
    "d": "disgust",
    "f": "fearful",
    "h": "happy",
    "n": "neutral",
    "sa": "sad",
    "su": "surprised",
}
_SAVEE_SPEAKERS = ("DC", "JE", "JK", "KL")
_SAVEE_NAME = r"(?:(DC|JE|JK|KL)_)?(sa|su|a|d|f|h|n)(\d\d)"


def _find_savee(folder: Path) -> Iterator[tuple[str, Clip]]:
    for place in (folder, folder / "AudioData", folder / "ALL"):
        recordings = audio_in(place, *(place / speaker for speaker in _SAVEE_SPEAKERS))
        for path, match in _named(_SAVEE_NAME, recordings):
            speaker = match[1] or path.absolute().parent.name
            if speaker in _SAVEE_SPEAKERS:
                clip = Clip(path, _SAVEE_LABELS[match[2]], f"savee/{speaker}", "savee", "male")
                yield f"{speaker}_{match[2]}{match[3]}", clip


SAVEE = Corpus(
    name="savee",
    title="SAVEE",
    licence="LicenseRef-SAVEE",
    layout="AudioData",
    speakers=_SAVEE_SPEAKERS,
    counts=tuple((label, 120 if label == "neutral" else 60) for label in _SAVEE_LABELS.values()),
    find=_find_savee,
)

# TESS: two Canadian women, 200 words, seven emotions (Pichora-Fuller, Dupuis 2020).
# ``OAF_angry/OAF_back_angry.wav``: speaker (of 64 or 26 years), word, emotion, where ``ps`` is a
# pleasant surprise. The published archive spells one speaker ``OA`` and its folders now with small
# and now with capital letters; a much copied archive holds everything twice, one inside the other.

_TESS_LABELS = {
    "angry": "angry",
    "disgust": "disgust",
    "fear": "fearful",
    "happy": "happy",
    "neutral": "neutral",
    "ps": "surprised",
    "sad": "sad",
}
_TESS_NAME = r"(?i)([oy])af?_([a-z'-]+)_(angry|disgust|fear|happy|neutral|ps|sad)"


def _find_tess(folder: Path) -> Iterator[tuple[str, Clip]]:
    inside = [child for child in folders_in(folder) if child.name.lower().startswith("tess")]
    for place in (folder, *inside):
        emotions = [
            child for child in folders_in(place) if child.name.lower().startswith(("oaf_", "yaf_"))
        ]
        for path, match in _named(_TESS_NAME, audio_in(place, *emotions)):
            letter, word, emotion = (part.lower() for part in match.groups())
            speaker = f"{letter.upper()}AF"
            clip = Clip(path, _TESS_LABELS[emotion], f"tess/{speaker}", "tess", "female")
            yield f"{speaker}_{word}_{emotion}", clip


TESS = Corpus(
    name="tess",
    title="TESS",
    licence="CC-BY-NC-ND-4.0",
    layout="OAF_angry",
    speakers=("OAF", "YAF"),
    counts=tuple((label, 400) for label in _TESS_LABELS.values()),
    find=_find_tess,
)
