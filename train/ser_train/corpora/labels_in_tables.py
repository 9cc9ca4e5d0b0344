"""Corpora that tell labels and speakers in a table: IEMOCAP, nEMO, and recordings of one's own."""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_live.errors import SerError
from ser_live.text import find_control_char, quoted, sanitize
from ser_train.corpora.corpus import Clip, Corpus, Sex, audio_in, folders_in, reason

_LARGEST_TABLE_BYTES = 64 * 2**20
OWN_COLUMNS = ("path", "label", "speaker")
"""Of a table of one's own recordings."""
_WEAK_LABEL = "neutral"
"""Of ordinary talk, which has no labels."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One row below the names of the columns."""

    where: str
    """Table and line, for messages."""
    values: dict[str, str | None]
    surplus: str = ""
    """Values beyond the last column, joined."""

    def take(self, column: str) -> str:
        """Return a value without the spaces around it.

        Raises
        ------
        SerError
            If it is empty or holds control characters.
        """
        value = (self.values[column] or "").strip()
        if not value:
            raise SerError(f"{self.where}: there is no {column}, every row needs one")
        if find_control_char(value):
            raise SerError(
                f"{self.where}: the {column} is {quoted(value)}, wanted a text without control "
                "characters"
            )
        return value


def _read_table(path: Path, wanted: Sequence[str], **dialect: Any) -> list[_Row]:
    """Return the rows of a table.

    Parameters
    ----------
    path : Path
        UTF-8 text with the names of the columns in its first line.
    wanted : sequence of str
        Columns that every table with rows must have.
    **dialect
        As in `csv.reader`; by default commas between the values.

    Raises
    ------
    SerError
        If it is missing, too large, no text, lacks a column or names one twice.
    """
    try:
        if path.stat().st_size > _LARGEST_TABLE_BYTES:
            raise SerError(
                f"{sanitize(path)}: has over {_LARGEST_TABLE_BYTES} bytes, wanted a table"
            )
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, **dialect)
            columns = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            rows = [
                _Row(f"{sanitize(path)}, line {reader.line_num}", row, "".join(row.pop(None, ())))
                for row in reader
            ]
    except (OSError, ValueError, csv.Error) as error:
        advice = "; save it as UTF-8" if isinstance(error, UnicodeDecodeError) else ""
        raise SerError(
            f"{sanitize(path)}: not readable as a table ({reason(error)}){advice}"
        ) from error
    twice = [name for name, count in Counter(columns).items() if name and count > 1]
    if twice:
        raise SerError(f"{sanitize(path)}: has the column {quoted(twice[0])} twice, wanted once")
    if rows and not set(wanted) <= set(columns):
        first = sanitize(",".join(columns))
        raise SerError(f"{sanitize(path)}: the first line is '{first}', wanted {','.join(wanted)}")
    return rows


def read_manifest(
    path: Path, needed: Sequence[str] = OWN_COLUMNS, name: str | None = None
) -> tuple[Clip, ...]:
    """Read a table ``path,label,speaker``; paths count from the table's folder.

    Parameters
    ----------
    path : Path
    needed : sequence of str
        Columns without which a row is refused. A clip without a label is neutral, as ordinary
        talk is, and one without a speaker has a speaker of its own.
    name : str or None
        Of the corpus; None: the table's.

    Raises
    ------
    SerError
        If the table is missing, not text, lacks a column, or a row lacks a value or has one more.
    """
    rows = _read_table(path, needed)
    if not rows:
        raise SerError(f"{sanitize(path)}: no rows, wanted {','.join(needed)} and rows below")
    return tuple(_own_clip(path, row, needed, name or path.stem) for row in rows)


def own_clip(path: Path, place: str, corpus: str, label: str = "", speaker: str = "") -> Clip:
    """Return a clip of one's own; ``place`` names it in its corpus, and its speaker by default."""
    speaker = speaker or str(Path(place).with_suffix(""))
    return Clip(path, label or _WEAK_LABEL, f"{corpus}/{speaker}", corpus, place=place)


def _own_clip(table: Path, row: _Row, needed: Sequence[str], corpus: str) -> Clip:
    if row.surplus.strip():
        raise SerError(
            f"{row.where}: has more values than the first line has columns "
            f"({quoted(row.surplus)}); a value that holds a comma wants quotes around it"
        )
    told = [c for c in OWN_COLUMNS if c in needed or (row.values.get(c) or "").strip()]
    values = {column: row.take(column) for column in told}
    place = values.pop("path")
    return own_clip(table.parent / place, place, corpus, **values)


# IEMOCAP: ten American actors in five sessions of dialogues (Busso et al. 2008).
# ``SessionN/dialog/EmoEvaluation/DIALOGUE.txt`` tells the emotion of each turn, and
# ``SessionN/sentences/wav/DIALOGUE/TURN.wav`` is its recording. The letter in the last part of a
# turn's name (``Ses01F_impro01_M003``) is who speaks; the letter after the session is only who
# wore the markers in that dialogue.
# By default the four labels that nearly all published figures rest on: angry, happy with excited,
# neutral, sad; 5531 clips.

_IEMOCAP_EMOTIONS = {
    "ang": ("angry", 1103),
    "dis": ("disgust", 2),
    "exc": ("excited", 1041),
    "fea": ("fearful", 40),
    "fru": ("frustrated", 1849),
    "hap": ("happy", 595),
    "neu": ("neutral", 1708),
    "sad": ("sad", 1084),
    "sur": ("surprised", 107),
}
"""Label of each abbreviation, and how many clips of it were published."""
_WITHOUT_LABEL = ("oth", "xxx")
"""Another emotion, and no two listeners who agree."""

# Names of turns that end in XX and a digit are noises and interjections, which no listener judged.
_TURN = re.compile(r"\[[^\]]*\]\t((Ses0[1-5])[FM]_\w+_([FM])\d{3})\t(\w+)\t")


def _find_iemocap(folder: Path) -> Iterator[tuple[str, Clip]]:
    release = folder / "IEMOCAP_full_release"
    for session in (folder, *sorted(folder.glob("Session*")), *sorted(release.glob("Session*"))):
        tables = _tables(session)
        if tables:
            dialogues = folders_in(session / "sentences" / "wav")
            yield from _judged(tables, {path.stem: path for path in audio_in(*dialogues)})


def _tables(session: Path) -> list[Path]:
    """Return the agreed judgements; the folders beside them hold those of single listeners."""
    tables = (session / "dialog" / "EmoEvaluation").glob("*.txt")
    return sorted(path for path in tables if path.is_file() and not path.name.startswith("."))


def _judged(tables: list[Path], recordings: dict[str, Path]) -> Iterator[tuple[str, Clip]]:
    for table in tables:
        for line in table.read_text(encoding="latin-1").splitlines():
            match = _TURN.match(line)
            if match and match[1] in recordings and match[4] not in _WITHOUT_LABEL:
                turn, session, letter, code = match.groups()
                label, _ = _IEMOCAP_EMOTIONS.get(code, (code, 0))
                sex: Sex = "female" if letter == "F" else "male"
                speaker = f"iemocap/{session}{letter}"
                yield turn, Clip(recordings[turn], label, speaker, "iemocap", sex)


IEMOCAP = Corpus(
    name="iemocap",
    title="IEMOCAP",
    licence="LicenseRef-IEMOCAP",
    layout="Session1",
    speakers=tuple(f"Ses0{session}{letter}" for session in range(1, 6) for letter in "FM"),
    counts=tuple(_IEMOCAP_EMOTIONS.values()),
    find=_find_iemocap,
    left_out=("frustrated", "surprised", "fearful", "disgust"),
    merged=(("excited", "happy"),),
)

# nEMO: nine Polish actors, ninety sentences, six emotions (Christop 2024).
# ``data.tsv`` names the recordings in ``samples/``; its speakers are padded with spaces.

_NEMO_EMOTIONS = {
    "anger": ("angry", 749),
    "fear": ("fearful", 736),
    "happiness": ("happy", 749),
    "neutral": ("neutral", 809),
    "sadness": ("sad", 769),
    "surprised": ("surprised", 669),
}
"""Label of each word, and how many clips of it were published."""
_NEMO_SEXES: dict[str, Sex] = {"female": "female", "male": "male"}


def _find_nemo(folder: Path) -> Iterator[tuple[str, Clip]]:
    """Yield only the rows whose recording is there, in any format."""
    table = folder / "data.tsv"
    if not table.is_file():
        return
    present = {path.stem: path for path in audio_in(folder, folder / "samples")}
    wanted = ("file_id", "emotion", "speaker_id")
    for row in _read_table(table, wanted, delimiter="\t", quoting=csv.QUOTE_NONE):
        stem = Path(row.take("file_id")).stem
        if stem in present:
            emotion, speaker = row.take("emotion"), row.take("speaker_id")
            label, _ = _NEMO_EMOTIONS.get(emotion, (emotion, 0))
            sex = _NEMO_SEXES.get((row.values.get("gender") or "").strip())
            yield stem, Clip(present[stem], label, f"nemo/{speaker}", "nemo", sex)


NEMO = Corpus(
    name="nemo",
    title="nEMO",
    licence="CC-BY-NC-SA-4.0",
    layout="data.tsv",
    speakers=("EB0", "IC0", "KD0", "KS0", "MK0", "MP0", "SM0", "TP0", "WR0"),
    counts=tuple(_NEMO_EMOTIONS.values()),
    find=_find_nemo,
)
