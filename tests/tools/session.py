"""Let the installed live command listen for an hour, and measure what that takes.

``python tests/tools/session.py --minutes 60 --report docs/measurements/session.md``

A private PulseAudio server plays a voice into its own microphone; ``ser-live --json`` listens to
it at 48 kHz, in processes of its own that are watched from outside.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])

import numpy as np
import psutil
import soundfile

from ser_live.command_line import Parser
from ser_live.model.catalog import DEFAULT_MODEL
from ser_live.testing import demo_voice
from sound_server import SoundServer
from tools.machine import Usage, usage
from tools.report import CORE, Figure, Report, check_report_path, summary

RATE_HZ = 48000

_LOOK_SECONDS = 5.0
_SETTLE_SECONDS = 60.0
_CALM_SECONDS = 5.0  # the first predictions wait for the device to begin


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and publish the report."""
    parser = Parser(prog="tools.session", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, metavar="N", help="default 60")
    parser.add_argument("--report", type=Path, metavar="FILE.md", help="write FILE.json, too")
    arguments = parser.parse_args(argv)
    check_report_path(arguments.report)
    with tempfile.TemporaryDirectory() as folder:
        report = measure_session(Path(folder), arguments.minutes)
    command = f"python tests/tools/session.py --minutes {arguments.minutes:g}"
    return report.publish(command, arguments.report, prints_json=False)


def measure_session(folder: Path, minutes: float) -> Report:
    """Run the command for so many minutes, with its files in a folder."""
    lines_path, errors_path = folder / "lines.jsonl", folder / "errors.txt"
    command = [sys.executable, "-m", "ser_live", "--device", "pulse", "--json"]
    voice_path = folder / "voice.wav"
    soundfile.write(voice_path, np.tile(demo_voice(RATE_HZ), 15), RATE_HZ, subtype="PCM_16")
    with (
        SoundServer(folder / "sound") as server,
        lines_path.open("wb") as lines,
        errors_path.open("wb") as errors,
    ):
        process = subprocess.Popen(command, env=server.environment, stdout=lines, stderr=errors)
        try:
            looks = _watch(process, server, voice_path, 60.0 * minutes)
        finally:
            process.terminate()  # SIGINT is ignored in what a script runs in the background
            process.wait(20.0)
    predictions = [json.loads(line) for line in lines_path.read_text("utf-8").splitlines()]
    return _report(predictions, looks, errors_path.read_text("utf-8"), minutes)


def _watch(
    process: "subprocess.Popen[bytes]", server: SoundServer, voice_path: Path, seconds: float
) -> list[tuple[Usage, Usage]]:
    """Look at the command and its capture process every few seconds; play again what is over."""
    looks: list[tuple[Usage, Usage]] = []
    until, player = time.monotonic() + seconds, server.play(voice_path)
    while (left := until - time.monotonic()) > 0.0:
        time.sleep(min(_LOOK_SECONDS, left))
        if process.poll() is not None:
            raise RuntimeError(f"ser-live ended with {process.returncode}")
        if player.poll() is not None:
            player = server.play(voice_path)
        (capture,) = psutil.Process(process.pid).children()
        looks.append((usage(process.pid), usage(capture.pid)))
    player.terminate()
    player.wait()
    return looks


def _report(
    predictions: list[dict[str, Any]], looks: list[tuple[Usage, Usage]], told: str, minutes: float
) -> Report:
    begun_at = looks[0][0].at_seconds
    settled = [look for look in looks if look[0].at_seconds >= begun_at + _SETTLE_SECONDS] or looks
    (engine, capture), (engine_end, capture_end) = settled[0], settled[-1]
    ends = np.array([prediction["end_seconds"] for prediction in predictions], float)
    lags = np.array([prediction["lag_seconds"] for prediction in predictions], float)
    calm = ends > _CALM_SECONDS
    slope = float(np.polyfit(ends[calm], lags[calm], 1)[0])
    with_emotion = sum(p["state"] in ("speech", "uncertain") for p in predictions)
    captured, _, dropped = _numbers(told, "captured ")[:3]
    overruns, restarts, missing_seconds = _numbers(told, "device overruns")[:3]
    shares = [engine_end.core_share_since(engine), capture_end.core_share_since(capture)]
    figures = [
        Figure("predictions", len(predictions)),
        Figure("of these with an emotion", with_emotion),
        Figure("frames captured", int(captured)),
        Figure("frames dropped", int(dropped)),
        Figure("overruns of the device", int(overruns)),
        Figure("restarts", int(restarts)),
        Figure("missing on the timeline", missing_seconds, "s"),
        Figure("processor, engine", shares[0], CORE),
        Figure("processor, capture", shares[1], CORE),
        Figure("processor, both", sum(share or 0.0 for share in shares), CORE),
        Figure("memory, engine, after the first minute and at the end",
               (engine.resident_mib, engine_end.resident_mib), "MiB"),
        Figure("memory, capture, after the first minute and at the end",
               (capture.resident_mib, capture_end.resident_mib), "MiB"),
        Figure("threads of the engine, then and at the end", (engine.threads, engine_end.threads)),
        Figure("lag, capture to prediction", summary("lag", lags[calm])),
        Figure("slope of the lag", 3.6e6 * slope, "ms an hour"),
        Figure("samples captured after the last prediction", captured / RATE_HZ - ends[-1], "s"),
    ]  # fmt: skip
    note = (
        "PulseAudio plays the demo voice into its own microphone, and the live command listens to "
        "it with the default model. Processor time and memory are those after the first minute."
    )
    return Report(f"{minutes:g} minutes of a real microphone", DEFAULT_MODEL, figures, {}, note)


def _numbers(told: str, words: str) -> list[float]:
    """Return the numbers of the line of the summary that holds some words."""
    line = next(line for line in told.splitlines() if words in line)
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", line)]


if __name__ == "__main__":
    sys.exit(main())
