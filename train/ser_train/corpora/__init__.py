"""Emotional speech on disk: which clips there are, with label and speaker.

Each corpus has a module of its name, which knows its layout, its licence and its size.
"""

from ser_train.corpora.clip import (
    LABELS,
    Clip,
    Sex,
    Strength,
    labels_of,
    relabel,
    speakers_of,
    truth_of,
)
from ser_train.corpora.corpus import Corpus
from ser_train.corpora.finding import KNOWN, LICENCES, find_clips, shortfalls
from ser_train.corpora.manifest import read_manifest

__all__ = [
    "KNOWN",
    "LABELS",
    "LICENCES",
    "Clip",
    "Corpus",
    "Sex",
    "Strength",
    "find_clips",
    "labels_of",
    "read_manifest",
    "relabel",
    "shortfalls",
    "speakers_of",
    "truth_of",
]
