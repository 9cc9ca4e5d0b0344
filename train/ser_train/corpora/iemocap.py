"""IEMOCAP: ten American actors in five sessions of dialogues (Busso et al. 2008).

``SessionN/dialog/EmoEvaluation/DIALOGUE.txt`` tells the emotion of each turn, and
``SessionN/sentences/wav/DIALOGUE/TURN.wav`` is its recording. The letter in the last part of a
turn's name (``Ses01F_impro01_M003``) is who speaks; the letter after the session is only who wore
the markers in that dialogue.

By default the four labels that nearly all published figures rest on: angry, happy with excited,
neutral, sad; 5531 clips.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from ser_train.corpora.clip import Clip, Sex
from ser_train.corpora.corpus import Corpus, audio_in, folders_in

_LABELS = {
    "ang": "angry",
    "dis": "disgust",
    "exc": "excited",
    "fea": "fearful",
    "fru": "frustrated",
    "hap": "happy",
    "neu": "neutral",
    "sad": "sad",
    "sur": "surprised",
}
_WITHOUT_LABEL = ("oth", "xxx")
"""Another emotion, and no two listeners of one mind."""

# Names of turns that end in XX and a digit are noises and interjections, which nobody judged.
_TURN = re.compile(r"\[[^\]]*\]\t((Ses0[1-5])[FM]_\w+_([FM])\d{3})\t(\w+)\t")


def _find(folder: Path) -> Iterator[tuple[str, Clip]]:
    release = folder / "IEMOCAP_full_release"
    for session in (folder, *sorted(folder.glob("Session*")), *sorted(release.glob("Session*"))):
        tables = _tables(session)
        if tables:
            dialogues = folders_in(session / "sentences" / "wav")
            yield from _judged(tables, {path.stem: path for path in audio_in(*dialogues)})


def _tables(session: Path) -> list[Path]:
    """The folders beside them hold the single listeners' judgements."""
    tables = (session / "dialog" / "EmoEvaluation").glob("*.txt")
    return sorted(path for path in tables if path.is_file() and not path.name.startswith("."))


def _judged(tables: list[Path], recordings: dict[str, Path]) -> Iterator[tuple[str, Clip]]:
    for table in tables:
        for line in table.read_text(encoding="latin-1").splitlines():
            match = _TURN.match(line)
            if match and match[1] in recordings and match[4] not in _WITHOUT_LABEL:
                turn, session, letter, code = match.groups()
                label = _LABELS.get(code, code)
                sex: Sex = "female" if letter == "F" else "male"
                speaker = f"iemocap/{session}{letter}"
                yield turn, Clip(recordings[turn], label, speaker, "iemocap", sex)


CORPUS = Corpus(
    name="iemocap",
    title="IEMOCAP",
    licence="LicenseRef-IEMOCAP",
    layout="Session1",
    speakers=tuple(f"Ses0{session}{letter}" for session in range(1, 6) for letter in "FM"),
    counts=(
        ("frustrated", 1849),
        ("neutral", 1708),
        ("angry", 1103),
        ("sad", 1084),
        ("excited", 1041),
        ("happy", 595),
        ("surprised", 107),
        ("fearful", 40),
        ("disgust", 2),
    ),
    find=_find,
    left_out=("frustrated", "surprised", "fearful", "disgust"),
    merged=(("excited", "happy"),),
)
