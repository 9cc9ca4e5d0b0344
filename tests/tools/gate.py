"""Measure what the speech gate loses of speech, and what it takes for speech.

The command stands in docs/speech-gate.md. It needs the extra ``dev`` (psutil).
Its values were chosen on the first half of the recordings (``--half 0``); the second is measured.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])

import numpy as np
from numpy.typing import NDArray

from ser_live.engine.speech_gate import STEP_SAMPLES, GateRequest, SpeechGate, run_gate
from ser_live.errors import SerError
from ser_live.model.card import SAMPLE_RATE_HZ, GateSpec
from ser_train.audio import read_audio
from ser_train.data.acoustics import rms
from ser_train.evaluation.live.sounds import make_sounds, street_bed
from tools.report import Report, Table, at_most, check_report_path

CORPORA = ("ravdess", "emodb", "nemo", "ordinary")
LEVELS_DB = (-30, -20, 0, 20)
REFERENCE_DB = (-20, -10, 0, 10, 20)
HOP_SAMPLES = SAMPLE_RATE_HZ // 4
SOUND_SECONDS = 60.0
MOST_LOST_PERCENT = 1.0
NOTE = """Lost are hops of 0.25 s that Silero hears without our level control and the gate does not.
Its best level is the one of ten at which it hears the most hops: -20 to +20 dB of the recording as
it is, and of the same at an RMS of 0.1; for each recording, or one for all recordings of a row. Of
the lost hops, those with a voice hold a step that it takes for speech; the others lie in the 0.4 s
that an utterance is held. Added hops are those that only the gate hears. Samples beyond full scale
are kept, as the engine keeps them. Babble is speech, and is not measured.
The command needs the extra `dev` (psutil)."""

Samples = NDArray[np.float32]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Heard:
    """Speech that Silero hears in a recording at its levels, hop by hop."""

    speech: Flags
    """Shape (levels, hops)."""
    voiced: Flags
    """Also a step that is speech by itself; same shape."""


def heard_by_gate(samples: Samples) -> Flags:
    """Return for each hop whether the gate, made anew, hears speech."""
    gate, steps = SpeechGate(GateSpec()), []
    for start in range(0, samples.size, HOP_SAMPLES):
        gate.process(samples[start : start + HOP_SAMPLES])
        steps += gate.decide()
    return at_hops([step.is_speech for step in steps])


def at_hops(steps: Sequence[bool]) -> Flags:
    """Return what holds at the end of each hop."""
    hops = len(steps) * STEP_SAMPLES // HOP_SAMPLES
    return np.array([steps[HOP_SAMPLES * (k + 1) // STEP_SAMPLES - 1] for k in range(hops)], bool)


def heard_by_silero(samples: Samples) -> Heard:
    """Return what Silero hears at fixed gains, with the gate's hysteresis."""
    steps = samples[: samples.size // STEP_SAMPLES * STEP_SAMPLES].reshape(-1, STEP_SAMPLES)
    context = np.concatenate((np.zeros((1, 64), np.float32), steps[:-1, -64:]))
    rows, spec = np.concatenate((context, steps), axis=1), GateSpec()
    gains = [b * 10.0 ** (db / 20.0) for b in (1.0, 0.1 / rms(samples)) for db in REFERENCE_DB]
    state = np.zeros((2, 1, 128), np.float32)
    speech, voiced = [], []
    for result in run_gate([GateRequest(rows * np.float32(gain), state) for gain in gains]):
        gate, is_speech = SpeechGate(spec), []
        for probability in result.probabilities:
            gate._latest = gate._decide(probability)
            is_speech.append(gate._latest.is_speech)
        is_voice = np.array(result.probabilities) >= spec.release_probability
        speech.append(at_hops(is_speech))
        ends = HOP_SAMPLES * np.arange(1, speech[-1].size + 1) // STEP_SAMPLES
        voiced.append([is_voice[max(0, end - 8) : end].any() for end in ends])
    return Heard(np.array(speech), np.array(speech) & np.array(voiced))


def recordings(folder: Path, half: int, clips: int) -> Iterator[tuple[str, list[Samples]]]:
    """Yield the name of each corpus, and a fixed choice of its recordings."""
    for name in CORPORA:
        files = sorted(p for p in (folder / name).rglob("*") if p.suffix in (".flac", ".ogg"))
        if not files:
            raise SerError(f"--corpora {folder} has no recordings in {name}/")
        order = np.random.default_rng(7).permutation(len(files))
        number = min(clips, len(files) // 2)
        chosen = order[half * number : (half + 1) * number]
        yield name, [read_audio(files[index]) for index in chosen]


def compare(name: str, clips: Sequence[Samples]) -> tuple[list[object], float]:
    """Return the row of some recordings, and the largest share that is lost at any level."""
    silero = [heard_by_silero(clip) for clip in clips]
    best = [one.speech[one.speech.sum(axis=1).argmax()] for one in silero]
    voiced = [one.voiced[one.speech.sum(axis=1).argmax()] for one in silero]
    level = np.sum([one.speech.sum(axis=1) for one in silero], axis=0).argmax()
    common = [one.speech[level] for one in silero]
    lost: list[list[float]] = []
    for level_db in LEVELS_DB:
        gain = np.float32(10.0 ** (level_db / 20.0))
        gate = [heard_by_gate(clip * gain) for clip in clips]
        kinds = [percent(there, gate) for there in (best, voiced, common)]
        lost.append([*kinds, percent(gate, best)])
    columns = [tuple(round(value, 2) for value in column) for column in zip(*lost, strict=True)]
    hops = sum(int(one.sum()) for one in best)
    return [name, len(clips), hops, *columns], max(row[0] for row in lost)


def percent(there: Sequence[Flags], heard: Sequence[Flags]) -> float:
    """Return the share of hops that are there and not heard."""
    missed = sum(int((a & ~b).sum()) for a, b in zip(there, heard, strict=True))
    return 100.0 * missed / max(1, sum(int(a.sum()) for a in there))


def noises() -> Iterator[list[object]]:
    """Yield a row for each sound: seconds of speech in a minute at each level."""
    street = street_bed(SOUND_SECONDS)
    made = {**make_sounds(SOUND_SECONDS, seed=0), "street": street * np.float32(0.05 / rms(street))}
    for name, samples in made.items():
        gains = [np.float32(10.0 ** (level_db / 20.0)) for level_db in LEVELS_DB]
        yield [name, *(float(heard_by_gate(samples * gain).sum()) / 4.0 for gain in gains)]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write the report; return 1 where more is lost than wanted."""
    parser = argparse.ArgumentParser(description=__doc__, prog="gate.py")
    parser.add_argument("files", nargs="*", type=Path, help="recordings, each measured alone")
    parser.add_argument("--corpora", type=Path, default=os.environ.get("SER_CORPORA"))
    parser.add_argument("--half", type=int, choices=(0, 1), default=1)
    parser.add_argument("--clips", type=int, default=60, help="of each corpus (60)")
    parser.add_argument("--report", type=Path, help="a page; its .json comes beside")
    options = parser.parse_args(argv)
    check_report_path(options.report)
    groups = [(path.name, [read_audio(path)]) for path in options.files]
    if options.corpora is not None:
        groups += recordings(Path(options.corpora), options.half, options.clips)
    rows, figures = [], []
    for name, clips in groups:
        row, worst = compare(name, clips)
        rows.append(row)
        figures.append(at_most(f"speech lost of {name}", worst, "%", MOST_LOST_PERCENT))
    levels = " / ".join(f"{level_db:+d}" for level_db in LEVELS_DB)
    columns = ("recordings", "number", "hops of speech", f"lost % at {levels} dB")
    more = ("with a voice %", "lost to one level for all %", "added %")
    heading = ("sound", *(f"{level_db:+d} dB" for level_db in LEVELS_DB))
    tables = {
        "Speech": Table((*columns, *more), rows),
        "Seconds of speech in a minute of noise": Table(heading, list(noises())),
    }
    files = "".join(f" {path.name}" for path in options.files)
    folder = "" if options.corpora is None else " --corpora FOLDER"
    choice = f"--half {options.half} --clips {options.clips}"
    page = "" if options.report is None else f" --report {options.report.as_posix()}"
    command = f"python tests/tools/gate.py{files}{folder} {choice}{page}"
    report = Report("What the speech gate hears", "Silero VAD 5", figures, tables, NOTE)
    return report.publish(command, options.report, prints_json=False)


if __name__ == "__main__":
    sys.exit(main())
