"""Miniature corpora of made-up sounds, in the exact naming of the real ones, with their traps."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE_HZ = 16000
RAVDESS_CODES = {"neutral": "01", "calm": "02", "happy": "03", "sad": "04", "angry": "05"}


def sound(label: str, seed: int, seconds: float = 0.7) -> NDArray[np.float32]:
    """A buzz between two quiet stretches; its pitch tells the label."""
    random = np.random.default_rng(seed)
    times = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    pitch_hz = 120.0 + 90.0 * (sum(label.encode()) % 5) + random.uniform(-5, 5)
    voice = sum(np.sin(2 * np.pi * pitch_hz * k * times) / k for k in range(1, 6))
    loudness = (times > 0.1) & (times < seconds - 0.1)
    samples = 0.1 * voice * loudness + 0.0005 * random.standard_normal(len(times))
    return np.asarray(samples, np.float32)


def write_sound(path: Path, label: str, seed: int, seconds: float = 0.7) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound(label, seed, seconds), RATE_HZ)
    return path


def write_ravdess(
    folder: Path, actors: Sequence[int], labels: Sequence[str] = ("happy", "sad"), takes: int = 1
) -> Path:
    """Only as many takes as RAVDESS has: at most two."""
    for actor in actors:
        for label in labels:
            for take in range(1, takes + 1):
                name = f"03-01-{RAVDESS_CODES[label]}-01-01-0{take}-{actor:02d}.wav"
                seed = 100 * actor + take
                write_sound(folder / f"Actor_{actor:02d}" / name, label, seed)
    return folder


def write_emodb(folder: Path) -> Path:
    for name, label in (("03a01Fa", "happy"), ("03a01Wa", "angry"), ("08b10Lb", "boredom")):
        write_sound(folder / "wav" / f"{name}.wav", label, seed=len(name) + ord(name[5]))
    return folder


def write_nemo(folder: Path) -> Path:
    """The table pads the speakers with spaces and names a recording that is not there."""
    write_sound(folder / "samples" / "KD0_anger_1.ogg", "angry", 1)
    write_sound(folder / "samples" / "EB0_fear_2.wav", "fearful", 2)
    header = "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage"
    rows = [
        'KD0_anger_1.ogg\tanger\t"Tak.\ttak\t        KD0\tmale\t23',
        "EB0_fear_2.ogg\tfear\tNie.\tnie\t        EB0\tfemale\t27",
        "SM0_fear_2.ogg\tfear\tNie.\tnie\t        SM0\tfemale\t27",
    ]
    (folder / "data.tsv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return folder
