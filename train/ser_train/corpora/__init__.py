"""Emotional speech on disk: which clips there are, with label and speaker.

The modules ``labels_in_file_names`` and ``labels_in_tables`` know each corpus's layout, licence
and size.
"""

from ser_train.corpora.corpus import (
    LABELS,
    Clip,
    in_order,
    labels_of,
    relabel,
    speakers_of,
    truth_of,
)
from ser_train.corpora.finding import (
    KNOWN,
    LICENCES,
    find_clips,
    find_listed,
    find_talk,
    shortfalls,
)
from ser_train.corpora.labels_in_tables import read_manifest

__all__ = [
    "KNOWN",
    "LABELS",
    "LICENCES",
    "Clip",
    "find_clips",
    "find_listed",
    "find_talk",
    "in_order",
    "labels_of",
    "read_manifest",
    "relabel",
    "shortfalls",
    "speakers_of",
    "truth_of",
]
