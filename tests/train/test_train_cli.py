"""The command ``ser-train`` from outside."""

import signal
import sys
import zipfile
from pathlib import Path

import pytest

from helpers.processes import imported
from ser_live.model.card import KERAS_MEMBER
from ser_live.testing import tiny_card
from ser_train.commands import cli
from ser_train.cross_validation.plan import CrossValidation
from ser_train.data.recordings import Recordings
from ser_train.files import default_cache_folder


@pytest.mark.integration
def test_help_loads_nothing_heavy(environment: dict[str, str]) -> None:
    code = (
        "from ser_train.commands import cli\n"
        "for command in ('', 'fit', 'cross-validate', 'evaluate', 'predict', 'ensemble'):\n"
        "    assert cli.main([*command.split(), '--help']) == 0\n"
    )
    heavy = ("tensorflow", "keras", "librosa", "matplotlib", "sklearn", "sounddevice")
    assert imported(code, heavy, environment) == "[]"


def test_without_the_extra_one_line_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    table = tmp_path / "mine.csv"
    table.write_text("path,label,speaker\na.wav,happy,Ann\nb.wav,sad,Bob\n")
    words = ["fit", "--network", "emotion-tcn", "-o", "a.keras", "--corpus", str(table)]
    assert cli.main(words) == 2
    text = capsys.readouterr().err
    assert text.startswith("ser-train: error: ")
    assert text.endswith("pip install 'ser-live[train]'\n")
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("--network emotion-whisper", "give its file with --encoder"),
        ("--network emotion-tcn --encoder mine.csv", "has no encoder to fill"),
        ("--network emotion-whisper --encoder mine.csv", "no encoder can be read"),
        ("--network emotion-tcn --ordinary none", "none is missing"),
        ("--network emotion-tcn --ordinary mine.csv --acted none", "none is missing"),
        ("--network emotion-tcn --acted .", "give --ordinary too"),
    ],
)
def test_the_encoder_and_talk_are_looked_at_before_tensorflow(
    words: str,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    monkeypatch.chdir(tmp_path)
    Path("mine.csv").write_text("path,label,speaker\na.wav,happy,Ann\nb.wav,sad,Bob\n")
    assert cli.main(["fit", "-o", "a.keras", "--corpus", "mine.csv", *words.split()]) == 2
    text = capsys.readouterr().err
    assert text.startswith("ser-train: error: ")
    assert reason in text
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["fit", "--network", "emotion-tcn", "-o", "a.keras"], "--train-dir"),
        (["fit", "--network", "emotion-tcn", "-o", "a.onnx"], "ends in .keras"),
        (["fit", "--network", "x", "-o", "a.keras", "--train-dir", "."], "no network 'x'"),
        (["fit", "--network", "emotion-tcn", "--set", "recipe.rate=1", "-o", "a.keras"], "'rate'"),
        (
            ["fit", "--network", "emotion-tcn", "--set", "recipe.epochs", "-o", "a.keras"],
            "= between",
        ),
        (
            ["fit", "--init", "a.keras", "--set", "recipe.epochs=1", "-o", "b.keras"],
            "give --epochs",
        ),
        (["fit", "--network", "no:build", "--init", "a.keras", "-o", "b.keras"], "no such file"),
        (["evaluate", "no.keras", "--train-dir", "."], "no such file"),
        (["evaluate", "emotion", "--train-dir", "."], "--stream, --conditions or --ordinary"),
        (["report", "."], "holds no finished fold"),
        (["ensemble", "no.keras", "-o", "all.keras"], "at least 2 models, got 1"),
        (["ensemble", "no.keras", "no.keras", "-o", "all.onnx"], "ends in .keras"),
        (["ensemble", "no.keras", "no.keras", "-o", "all.keras"], "no such file"),
        (["predict", "no.onnx", "a.wav"], "there is no model 'no.onnx'"),
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


@pytest.mark.parametrize(
    ("command", "file", "how"),
    [
        ("predict m.onnx a.wav", "a/checkpoint.npz", None),
        ("evaluate m.keras --report-dir a", "a/checkpoint.npz", None),
        ("fit --network tiny -o a.keras --run-dir a", "b/checkpoint.npz", None),
        ("fit --network tiny -o a.keras --run-dir a", "a/checkpoint.npz", "--resume"),
        ("cross-validate --protocol x --report-dir a", "b/ledger.jsonl", None),
        ("cross-validate --protocol x --report-dir a", "a/ledger.jsonl", "the same command"),
    ],
)
def test_ctrl_c_tells_only_of_what_there_is(
    command: str,
    file: str,
    how: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(options: object) -> int:
        signal.raise_signal(signal.SIGINT)
        return 0

    monkeypatch.chdir(tmp_path)
    Path(file).parent.mkdir()
    Path(file).touch()
    words = command.split()
    monkeypatch.setattr(cli, f"_{words[0].replace('-', '_')}", interrupted)
    assert cli.main(words) == 130
    rest = f"; what was finished is kept, and {how} goes on from there" if how else ""
    assert capsys.readouterr().err == f"ser-train: interrupted{rest}\n"


def test_options_reach_the_job() -> None:
    words = "--protocol nemo-loso --network tiny --corpus c --also d --also e -B 3 --epochs 5"
    more = "--seed 2 --seeds 4 --folds 0,2 --threads 1 --report-dir r --run-dir s --cache-dir t"
    options = cli.make_parser().parse_args(["cross-validate", *words.split(), *more.split()])
    assert cli._job(CrossValidation, options) == CrossValidation(
        recordings=Recordings((Path("c"),)),
        network="tiny",
        protocol="nemo-loso",
        report_folder=Path("r"),
        cache_folder=Path("t"),
        run_folder=Path("s"),
        seed=2,
        seeds=4,
        folds=(0, 2),
        also=(Path("d"), Path("e")),
        epochs=5,
        batch_clips=3,
        threads=1,
    )


@pytest.mark.integration
def test_what_does_not_fit_is_told_before_tensorflow_loads(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "good.csv").write_text("path,label,speaker\na.wav,happy,Ann\nb.wav,sad,Bob\n")
    (tmp_path / "bad.csv").write_text("path,label\na.wav,happy\n")
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr(KERAS_MEMBER, tiny_card().to_json())
    mistakes = {
        "fit -o a.keras --corpus good.csv": "wanted one of --network",
        "fit -o a.keras --network x --corpus good.csv": "no network 'x'",
        "fit -o a.keras --network emotion-tcn --corpus bad.csv": "wanted path,label,speaker",
        "fit -o a.keras --init no.keras --corpus good.csv": "no such file",
        "evaluate no.keras --corpus good.csv": "no such file",
        "evaluate a.keras --corpus bad.csv": "wanted path,label,speaker",
        "cross-validate --protocol loso --network issa-ravdess --corpus bad.csv --report-dir r": "",
        "predict emotion no.wav": "no.wav",
    }
    code = (
        "import contextlib, io, os\n"
        "from ser_train.commands import cli\n"
        f"os.chdir({str(tmp_path)!r})\n"
        f"for words, reason in {mistakes}.items():\n"
        "    with contextlib.redirect_stderr(io.StringIO()) as said:\n"
        "        assert cli.main(words.split()) == 2, words\n"
        "    assert reason in said.getvalue(), (words, said.getvalue())\n"
    )
    assert imported(code, ("tensorflow", "keras", "librosa"), environment) == "[]"


@pytest.mark.integration
def test_options_of_a_training_reach_the_job() -> None:
    from ser_train.commands.fit import FitJob  # noqa: PLC0415 - TensorFlow takes seconds

    words = "--init a.keras -o b.keras --training-speakers x --validation-speakers none --name n"
    more = "--test-speakers y,z --cross-validation c --cross-validation d --run-dir e --resume"
    rest = "--licence l --description m --limits o --mask-missing-labels --skip-broken -B 2"
    options = cli.make_parser().parse_args(["fit", *words.split(), *more.split(), *rest.split()])
    job = cli._job(FitJob, options)
    assert job.training_speakers == ("x",)
    assert job.validation_speakers == ()
    assert job.test_speakers == ("y", "z")
    assert job.cross_validations == (Path("c"), Path("d"))
    assert (job.output, job.run_folder) == (Path("b.keras"), Path("e"))
    assert (job.recordings, job.cache_folder) == (Recordings(), default_cache_folder())
    assert (job.mask_missing_labels, job.skip_broken, job.resume) == (True, True, True)
    assert (job.batch_clips, job.epochs, job.seed, job.network) == (2, None, 0, "")
    assert (job.name, job.licence, job.description, job.limits) == tuple("nlmo")
