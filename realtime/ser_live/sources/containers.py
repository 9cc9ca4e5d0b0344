"""Containers of audio, told by their first bytes."""

HEAD_BYTES = 16
"""As many first bytes tell all of them; a shorter head may be told wrongly."""

_MAGIC = (
    (0, b"fLaC", "FLAC"),
    (0, b"OggS", "Ogg"),
    (0, b"ID3", "MP3"),  # or FLAC, behind the tag
    (0, b"RF64", "RF64"),
    (0, b"riff\x2e\x91\xcf\x11", "W64"),
    (0, b".snd", "AU"),
    (0, b"caff", "CAF"),
    (4, b"ftyp", "MP4 (m4a, mov)"),
    (0, b"\x1a\x45\xdf\xa3", "Matroska (webm, mkv)"),
    (0, b"#!AMR", "AMR"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "ASF (wma)"),
    (0, b"wvpk", "WavPack"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"FLV\x01", "FLV"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b\x08", "gzip"),
)
_FORMS = {
    b"RIFF": {b"WAVE": "WAV", b"AVI ": "AVI"},
    b"FORM": dict.fromkeys((b"AIFF", b"AIFC"), "AIFF"),
}
_ARCHIVES = ("a ZIP archive", "gzip")
_HEADLESS = (".aac", ".ac3", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".vob")
"""Endings of what FFmpeg reads and no first bytes tell."""


def container_of(head: bytes) -> str | None:
    """Return the name of the container that begins so; None: none of those that are known.

    Parameters
    ----------
    head : bytes
        The first `HEAD_BYTES` of a file or a stream, or all of a shorter one.
    """
    form = _FORMS.get(head[:4], {}).get(head[8:12])
    if form is not None:
        return form
    found = (name for at, magic, name in _MAGIC if head[at : at + len(magic)] == magic)
    return next(found, None)


def is_media(container: str | None, ending: str) -> bool:
    """Tell whether FFmpeg may know a file, by its container or by the ending of its name."""
    return container not in (None, *_ARCHIVES) or ending.lower() in _HEADLESS


def advice_on(container: str | None, conversion: str) -> str:
    """Return what makes audio of a container readable; empty where that is not known.

    Parameters
    ----------
    container : str or None
        As `container_of` returns it.
    conversion : str
        Advice for what ffmpeg reads.
    """
    return "unpack it" if container in _ARCHIVES else conversion if container else ""
