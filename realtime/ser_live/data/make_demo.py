"""Make the demo voice: ``python make_demo.py`` writes demo.ogg and demo.json beside itself.

Needs espeak-ng. Its bytes differ from version to version, so the results are committed.
"""

import io
import json
import subprocess
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE_HZ = 22050
"""Rate of espeak-ng's output."""
LEAD_SECONDS = 0.3
PAUSE_SECONDS = 2.0
ROOM_DBFS = -80.0
"""Level of the faint noise under everything: a real room is never digitally silent."""


UTTERANCES = """
    calm     en-us+f3  165  48   80  -14.0  the evening is mild and we are walking along the river
    excited  en-us+f2  215  78  170   -5.0  we really won the whole thing and everyone in the room is singing
    sad      en-us+m3  150  25   40  -15.0  now all the rooms are lonely and no one knows my name
    angry    en-us+m7  215  42  150   -1.5  no you never ever listen and now everything has gone wrong again
"""  # noqa: E501
"""Temperament, voice, words per minute, pitch (0 to 99, as espeak-ng counts), percent of the usual
liveliness, peak in dBFS, and the sentence."""


def speak(
    text: str, voice: str, words_per_minute: str, pitch: str, liveliness: str, peak_dbfs: str
) -> NDArray[np.float64]:
    """Synthesize one utterance at `RATE_HZ`, trimmed to its speech and set to its level."""
    command = ["espeak-ng", "-m", "-v", voice, "-s", words_per_minute, "-p", pitch, "--stdout"]
    command.append(f'<prosody range="{liveliness}%">{text}</prosody>')
    wav = subprocess.run(command, check=True, capture_output=True).stdout
    samples: NDArray[np.float64]
    samples, rate_hz = soundfile.read(io.BytesIO(wav))
    if rate_hz != RATE_HZ:
        raise SystemExit(f"espeak-ng speaks at {rate_hz} Hz, wanted {RATE_HZ}")
    loud = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max())
    samples = samples[loud[0] : loud[-1] + 1]
    return samples * float(10 ** (float(peak_dbfs) / 20) / np.abs(samples).max())


def main() -> None:
    """Write the voice and its timeline."""
    pieces = [np.zeros(round(LEAD_SECONDS * RATE_HZ))]
    timeline: list[dict[str, object]] = []
    for row in UTTERANCES.strip().splitlines():
        temperament, *manner, text = row.split(maxsplit=6)
        pause = np.zeros(round(PAUSE_SECONDS * RATE_HZ))
        pieces += [speak(text, *manner), pause]
        start, spoken, end = (round(n / RATE_HZ, 4) for n in np.cumsum([*map(len, pieces)])[-3:])
        utterance = {"kind": "utterance", "start_seconds": start, "end_seconds": spoken}
        timeline.append({**utterance, "temperament": temperament, "text": text})
        timeline.append({"kind": "pause", "start_seconds": spoken, "end_seconds": end})
    voice = np.concatenate(pieces)
    noise = np.random.default_rng(0).standard_normal(voice.size) * 10 ** (ROOM_DBFS / 20)
    folder = Path(__file__).parent
    with soundfile.SoundFile(
        folder / "demo.ogg", "w", RATE_HZ, 1, "VORBIS", compression_level=0.75
    ) as file:
        for block in np.array_split(voice + noise, 100):
            file.write(block)
    record = {"seconds": round(voice.size / RATE_HZ, 4), "timeline": timeline}
    (folder / "demo.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
