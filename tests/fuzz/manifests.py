"""Tables of recordings: a manifest, and the table that a corpus brings along."""

from collections.abc import Callable
from pathlib import Path

from fuzz import attempt, scratch
from ser_live.text import find_control_char
from ser_train.corpora import Clip, find_clips, read_manifest, relabel

WORDS = 'happy,""",\',\r\0,\x1b[2J,\u202e,;\t,../../etc/passwd,/,é,\x85,\u0660'


def check(data: bytes) -> None:
    manifest = scratch("input.csv")
    corpus = scratch("corpus")
    corpus.mkdir(exist_ok=True)
    (corpus / "EB0_fear_2.wav").touch()
    manifest.write_bytes(data)
    (corpus / "data.tsv").write_bytes(data)
    _check(read_manifest, manifest)
    _check(find_clips, corpus)


def _check(read: Callable[[Path], tuple[Clip, ...]], path: Path) -> None:
    clips = attempt(read, path, begins=str(path))
    if clips is None:
        return
    assert clips
    for clip in clips:
        assert clip.label
        assert clip.speaker
        assert not any(map(find_control_char, (str(clip.path), clip.label, clip.speaker)))
    attempt(relabel, clips)


def seeds() -> list[bytes]:
    return [
        b'path,label,speaker\n"a,b.wav",happy, Ann\nc.wav,sad,Bob\n',
        f"path,label,speaker\n{WORDS}\nhappy,{WORDS}\n".encode(),
        "\ufeffspeaker,path,label\r\nAnn,é.wav,happy\r\nBob,b.wav,sad\r\n".encode(),
        b"path,label,speaker\n" + b"a" * 140_000 + b",sad,Bob\n",  # more than csv takes
        b'file_id\temotion\traw_text\tspeaker_id\nEB0_fear_2.wav\tfear\ta "b"\tEB0\n',
    ]
