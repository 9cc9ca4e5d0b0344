"""The real microphone path: PortAudio, ALSA and a PulseAudio server of our own."""

import dataclasses
import json
import re
import signal
import time
from itertools import groupby
from pathlib import Path

import pytest

from helpers.sound_server import SoundServer
from ser_live import Prediction
from ser_live.live.listener import listen
from ser_live.output import json_record
from tools.recovery import written_voice

pytestmark = pytest.mark.integration
SECONDS = 5.0


def told(line: str) -> dict[str, object]:
    """Return what a JSON line says, the clock's figures aside."""
    record: dict[str, object] = json.loads(line)
    return {k: v for k, v in record.items() if k not in ("lag_seconds", "timing")}


def whole(file: Path, model: Path) -> list[Prediction]:
    with listen(file, model=model) as predictions:
        return list(predictions)


def words(records: list[dict[str, object]]) -> list[object]:
    """Return the sequence of labels, without how long each stayed."""
    labels = [record["label"] for record in records if record["state"] == "speech"]
    return [label for label, _ in groupby(labels)]


def test_the_command_hears_what_its_recording_and_the_original_give(
    speaker: SoundServer, tiny_model: Path, tmp_path: Path
) -> None:
    voice, wav = written_voice(tmp_path / "voice.wav", SECONDS + 1), tmp_path / "captured.wav"
    options = [
        "--device",
        "pulse",
        "--json",
        "-v",
        "--record",
        str(wav),
        "--model",
        str(tiny_model),
    ]
    process = speaker.python("-m", "ser_live", *options)
    speaker.wait_for_recorders(1)
    speaker.play(voice).wait(timeout=30)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    live = [told(line) for line in out.splitlines()]
    # Bit for bit what the recording gives as a file: JSON floats are exact.
    recorded = [told(json.dumps(json_record(p))) for p in whole(wav, tiny_model)]
    assert live == recorded[: len(live)]
    assert len(live) >= SECONDS / 0.25
    original = [dataclasses.asdict(p) for p in whole(voice, tiny_model)]
    assert words(live) == words(original)
    assert len(words(live)) >= 2
    account = re.search(
        r"captured (\d+) frames = processed (\d+) \+ dropped 0 \+ buffered (\d+)", err
    )
    assert account
    captured, processed, buffered = map(int, account.groups())
    assert captured == processed + buffered
    assert "\n0 device overruns" in err
    lags = [json.loads(line)["lag_seconds"] for line in out.splitlines()]
    assert all(0.0 < lag < 1.0 for lag in lags)


def test_devices_are_listed_with_the_rates_that_they_take(speaker: SoundServer) -> None:
    process = speaker.python("-m", "ser_live", "--list-devices")
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert "pulse" in out
    assert "(default)" in out
    assert "16, 22.05, 32, 44.1, 48" in out
