"""The four roads through real processes and a real training that every run of the tests takes.

Whatever else starts a process or trains is marked ``integration``.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers import serving, tiny_corpora
from helpers.in_process import call
from helpers.server_talk import END, RATE_HZ, VOICE, blocks, offline, start, talk
from ser_live import StreamRecognizer
from ser_live.sources import DEMO_NOTICE, Microphone, Notice
from ser_live.sources.capture_process import CaptureProcess

BAD_CAPTURE = Path(__file__).parent / "helpers" / "bad_capture.py"


def test_a_capture_process_that_crashes_is_noticed_and_every_frame_counted() -> None:
    command = [sys.executable, "-I", "-S", str(BAD_CAPTURE), "crashing"]
    with Microphone(open_capture=lambda *_: CaptureProcess(command=command)) as source:
        loss = next(item for item in source if isinstance(item, Notice))
        counters = source.counters
    assert loss.kind == "device_lost"
    assert "Segmentation fault" in loss.detail
    assert counters.captured == counters.processed + counters.buffered > 0


def test_the_demo_prints_predictions(tiny_model: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "ser_live", "--demo", "--pace", "fast", "--json"]
    done = subprocess.run(
        [*command, "--model", str(tiny_model)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert DEMO_NOTICE in done.stderr
    states = [json.loads(line)["state"] for line in done.stdout.splitlines()]
    assert len(states) >= 30
    assert {"silence", "speech"} <= set(states) <= {"silence", "warming_up", "uncertain", "speech"}


def test_a_stream_gives_what_the_recognizer_gives() -> None:
    samples = VOICE[: 5 * RATE_HZ]
    with serving.process("--max-bytes-per-second", 10**9) as server:
        said = talk(server, [start(), *blocks(samples, 7001), END])
    assert said.predictions == offline(samples)
    assert said.ended["received_samples"] == said.ended["processed_samples"] == len(samples)
    assert said.close_code == 1000


@pytest.mark.usefixtures("no_pictures")
def test_one_epoch_becomes_a_model_that_recognizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from helpers import tiny_network  # noqa: PLC0415 - Keras takes seconds
    from ser_export import cli as export  # noqa: PLC0415
    from ser_train.commands import cli as train  # noqa: PLC0415

    tiny_network.register(monkeypatch)
    corpus = tiny_corpora.write_ravdess(tmp_path / "ravdess", range(1, 5))
    keras_file, model = tmp_path / "m.keras", tmp_path / "m.onnx"
    arguments = [
        *("fit", "-B", 4, "--epochs", 1, "--network", "tiny", "-o", keras_file),
        *("--train-dir", corpus, "--cache-dir", tmp_path / "cache", "--seed", 1),
        *("--validation-speakers", "ravdess/02", "--test-speakers", "ravdess/03"),
    ]
    fitted = call(*arguments, main=train.main)
    assert (fitted.returncode, fitted.stdout) == (0, "")
    assert "epoch 1/1  loss" in fitted.stderr
    assert "held-out speakers ravdess/03" in fitted.stderr
    assert (tmp_path / "m-run" / "metrics.json").is_file()
    assert call(keras_file, "-o", model, main=export.main).returncode == 0
    recognizer = StreamRecognizer(model, vad=False)
    sound = np.concatenate([tiny_corpora.sound("happy", seed) for seed in range(4)])
    predictions = recognizer.process(sound)
    assert predictions
    assert {p.label for p in predictions} & {"happy", "sad"}
