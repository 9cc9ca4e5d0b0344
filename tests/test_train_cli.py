"""The command ``ser-train`` from outside."""

import subprocess
import sys
from pathlib import Path

import pytest

import tiny_corpora
import tiny_network
from ser_train.commands import cli


@pytest.mark.integration
def test_help_loads_nothing_heavy(environment: dict[str, str]) -> None:
    code = (
        "import contextlib, sys\n"
        "from ser_train.commands import cli\n"
        "for command in ('', 'fit', 'cross-validate', 'evaluate', 'predict', 'ensemble'):\n"
        "    with contextlib.suppress(SystemExit):\n"
        "        cli.main([*command.split(), '--help'])\n"
        "heavy = {'tensorflow', 'keras', 'librosa', 'matplotlib', 'sklearn', 'sounddevice'}\n"
        "print('loaded:', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("usage: ser-train") == 6
    assert done.stdout.endswith("loaded: []\n")


def test_without_the_extra_one_line_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    assert cli.main(["fit", "--network", "emotion-tcn", "-o", "a.keras"]) == 2
    text = capsys.readouterr().err
    assert text.startswith("ser-train: error: ")
    assert text.endswith("pip install 'ser-live[train]'\n")
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["fit", "--network", "emotion-tcn", "-o", "a.keras"], "--train-dir"),
        (["fit", "--network", "emotion-tcn", "-o", "a.onnx"], "ends in .keras"),
        (["fit", "--network", "x", "-o", "a.keras", "--train-dir", "."], "no network 'x'"),
        (["evaluate", "no.keras", "--train-dir", "."], "no such file"),
        (["predict", "no.onnx", "a.wav"], "cannot read the model"),
        (["predict", "no.h5", "a.wav"], "ends in .keras or .onnx"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str],
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    text = capsys.readouterr().err
    assert text.startswith("ser-train: error: ")
    assert reason in text
    assert text.count("\n") == 1


def test_ctrl_c_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(options: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setitem(cli._COMMANDS, "predict", interrupted)
    assert cli.main(["predict", "m.keras", "a.wav"]) == 130
    assert capsys.readouterr().err == "ser-train: interrupted; checkpoints are kept\n"


@pytest.mark.integration
def test_fit_then_predict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_network.register(monkeypatch)
    corpus = tiny_corpora.write_ravdess(tmp_path / "ravdess", range(1, 6), takes=2)
    model = tmp_path / "m.keras"
    arguments = [
        *("fit", "-B", "4", "--epochs", "8", "--network", "tiny", "-o", str(model)),
        *("--train-dir", str(corpus), "--cache-dir", str(tmp_path / "cache"), "--seed", "1"),
        *("--validation-speakers", "ravdess/02", "--test-speakers", "ravdess/03"),
    ]
    assert cli.main(arguments) == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert "epoch 8/8  loss" in told.err
    assert "held-out speakers ravdess/03" in told.err
    assert (tmp_path / "m-run" / "metrics.json").is_file()
    voice = tiny_corpora.write_sound(tmp_path / "voice.wav", "happy", 5)
    assert cli.main(["predict", str(model), str(voice)]) == 0
    assert capsys.readouterr().out.startswith(f"{voice}\thappy\t")
