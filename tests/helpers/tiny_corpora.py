"""Miniature corpora of made-up sounds, in the exact naming of the real ones, with their traps."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from ser_train.corpora import Clip

RATE_HZ = 16000
RAVDESS_CODES = {"neutral": "01", "calm": "02", "happy": "03", "sad": "04", "angry": "05"}


def sound(label: str, seed: int, seconds: float = 0.7) -> NDArray[np.float32]:
    """Return a buzz between two quiet stretches; its pitch tells the label."""
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


def write_table(
    table: Path, speakers: Sequence[str], labels: Sequence[str] = ("happy", "sad")
) -> Path:
    """Write a clip of each speaker for each label, and the table of them."""
    rows = ["path,label,speaker"]
    for number, speaker in enumerate(speakers):
        for label in labels:
            path = f"{speaker}/{label}.wav"  # a name that each speaker has
            write_sound(table.parent / path, label, number)
            rows.append(f"{path},{label},{speaker}")
    table.write_text("\n".join(rows))
    return table


def write_ravdess(
    folder: Path, actors: Sequence[int], labels: Sequence[str] = ("happy", "sad"), takes: int = 1
) -> Path:
    """Write RAVDESS with as many takes as it has: at most two."""
    for actor in actors:
        for label in labels:
            for take in range(1, takes + 1):
                name = f"03-01-{RAVDESS_CODES[label]}-01-01-0{take}-{actor:02d}.wav"
                seed = 100 * actor + take
                write_sound(folder / f"Actor_{actor:02d}" / name, label, seed)
    return folder


NAMES = {
    "ravdess": (
        "Actor_01/03-01-01-01-01-01-01.wav",
        "Actor_01/03-01-05-02-01-01-01.wav",
        "Actor_24/03-01-05-01-01-01-24.wav",
        "Actor_01/03-02-05-01-01-01-01.wav",  # song
        "Actor_01/02-01-05-01-01-01-01.wav",  # video
        "Actor_01/._03-01-05-01-01-01-01.wav",
        "Actor_01/notes.wav",
    ),
    "emodb": ("wav/03a01Fa.wav", "wav/03a01Wa.wav", "wav/08b10Lb.wav"),
    "crema_d": (
        "AudioWAV/1001_DFA_ANG_XX.wav",
        "AudioWAV/1002_IEO_HAP_LO.wav",
        "AudioWAV/1040_ITH_SAD_X.wav",  # the one name that is too short
        "AudioWAV/1091_WSI_NEU_XX.wav",
        "AudioWAV/1092_DFA_ANG_XX.wav",  # no actor
        "AudioWAV/1001_ABC_ANG_XX.wav",  # no sentence
    ),
    "savee": (
        "AudioData/DC/a01.wav",
        "AudioData/DC/sa01.wav",
        "AudioData/JE/su02.wav",
        "AudioData/JK/n30.wav",
        "AudioData/KL/d15.wav",
        "AudioData/DC/x01.wav",  # no emotion
        "AudioData/XY/a01.wav",  # no speaker
        "AudioData/DC/._a01.wav",
    ),
    "tess": (  # as published: folders and names of either case, one speaker's name too short
        "OAF_angry/OAF_back_angry.wav",
        "OAF_Fear/OAF_back_fear.wav",
        "OAF_neutral/OA_bite_neutral.wav",
        "OAF_Pleasant_surprise/OAF_back_ps.wav",
        "YAF_pleasant_surprised/YAF_back_ps.wav",
        "YAF_SAD/yaf_keg_SAD.WAV",
    ),
}
"""Recordings of each corpus whose file names tell all, and what lies beside them."""


def write_named(corpus: str, folder: Path) -> Path:
    for seed, name in enumerate(NAMES[corpus]):
        write_sound(folder / name, name, seed)
    return folder


def write_nemo(folder: Path) -> Path:
    """Write nEMO, whose table pads the speakers with spaces and names a file that is not there."""
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


def write_iemocap(release: Path, sessions: Sequence[int] = (1,)) -> Path:
    """Write two dialogues a session; in the second the markers are on the man, and a woman speaks.

    Beside them lies what is not to be read: single listeners' judgements, whole dialogues, hidden
    copies, and turns without a number, without a recording or without an agreed emotion.
    """
    for session in sessions:
        folder, name = release / f"Session{session}", f"Ses0{session}"
        first, second = f"{name}F_impro01", f"{name}M_script01_1b"
        judged = {
            first: ("F000 neu", "M000 exc", "M001 hap", "F001 ang", "M002 sad", "F002 xxx",
                    "F003 oth", "M003 fru", "M004 fea", "F004 sur", "F005 dis", "MXX0 neu"),
            second: ("F000 sad", "M000 ang"),
        }  # fmt: skip
        for number, (dialogue, turns) in enumerate(judged.items()):
            _write_judgements(folder, dialogue, (*turns, "F999 ang"))
            for turn in turns:
                path = folder / "sentences" / "wav" / dialogue / f"{dialogue}_{turn[:4]}.wav"
                write_sound(path, turn[5:], 100 * session + number)
            write_sound(folder / "dialog" / "wav" / f"{dialogue}.wav", "neu", 1)
        hidden = folder / "sentences" / "wav" / first / f"._{first}_F000.wav"
        hidden.write_bytes(b"\0\5\x16\7")
    return release


def _write_judgements(session: Path, dialogue: str, turns: Sequence[str]) -> None:
    """Tabs between the columns, and a listener who wrote a letter outside of ASCII."""
    agreed = session / "dialog" / "EmoEvaluation" / f"{dialogue}.txt"
    of_one_listener = agreed.parent / "Categorical" / agreed.name
    hidden, other = agreed.with_name(f"._{agreed.name}"), agreed.with_suffix(".anvil")
    for path in (agreed, of_one_listener, hidden, other):
        lines = [
            f"[{start}.2901 - {start + 1}.2357]\t{dialogue}_{turn[:4]}\t"
            f"{turn[5:] if path == agreed else 'ang'}\t[2.5000, 2.5000, 2.5000]\n"
            "C-E2:\tNeutral;\t(na\u00efve)\nA-E3:\tval 3; act 2;\t()\n"
            for start, turn in enumerate(turns)
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        head = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
        path.write_text(head + "\n".join(lines), encoding="latin-1")


def write_pointer(path: Path) -> Path:
    """Write what Git puts in a recording's place where Git LFS is not installed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4d' * 32}\nsize 82028\n"
    )
    return path


def clips_of(**speakers: str) -> list[Clip]:
    """One clip for each letter: h(appy), s(ad), a(ngry)."""
    names = {"h": "happy", "s": "sad", "a": "angry"}
    return [
        Clip(Path(f"{speaker}{number}.wav"), names[letter], f"x/{speaker}", "x")
        for speaker, letters in speakers.items()
        for number, letter in enumerate(letters)
    ]


EMODB_SPEAKERS = ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16")
