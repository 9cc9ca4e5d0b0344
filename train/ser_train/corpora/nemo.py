"""nEMO: nine Polish actors, ninety sentences, six emotions (Christop 2024).

``data.tsv`` names the recordings in ``samples/``; its speakers are padded with spaces.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from ser_live.errors import SerError
from ser_live.text import sanitize
from ser_train.corpora.clip import Clip, Sex
from ser_train.corpora.corpus import Corpus, audio_in
from ser_train.corpora.tables import Row, read_table

_LABELS = {
    "anger": "angry",
    "fear": "fearful",
    "happiness": "happy",
    "neutral": "neutral",
    "sadness": "sad",
    "surprised": "surprised",
}
_SEXES: dict[str, Sex] = {"female": "female", "male": "male"}


def _find(folder: Path) -> Iterator[tuple[str, Clip]]:
    """Only the rows whose recording is there, in any format."""
    table = folder / "data.tsv"
    if not table.is_file():
        return
    present = {path.stem: path for path in audio_in(folder, folder / "samples")}
    columns, rows = read_table(table, delimiter="\t", quoting=csv.QUOTE_NONE)
    missing = [name for name in ("file_id", "emotion", "speaker_id") if name not in columns]
    if missing and rows:
        raise SerError(f"{sanitize(table)}: lacks the column {missing[0]}, which nEMO has")
    for row in rows:
        stem = Path(row.take("file_id")).stem
        if stem in present:
            yield stem, _clip(present[stem], row)


def _clip(path: Path, row: Row) -> Clip:
    emotion = row.take("emotion")
    sex = _SEXES.get((row.values.get("gender") or "").strip())
    label = _LABELS.get(emotion, emotion)
    return Clip(path, label, f"nemo/{row.take('speaker_id')}", "nemo", sex)


CORPUS = Corpus(
    name="nemo",
    title="nEMO",
    licence="CC-BY-NC-SA-4.0",
    layout="data.tsv",
    speakers=("EB0", "IC0", "KD0", "KS0", "MK0", "MP0", "SM0", "TP0", "WR0"),
    counts=(
        ("neutral", 809),
        ("sad", 769),
        ("angry", 749),
        ("happy", 749),
        ("fearful", 736),
        ("surprised", 669),
    ),
    find=_find,
)
