"""The page on own networks and graphs: its code and its commands run as they stand."""

import json
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from helpers import tiny_corpora
from ser_export.cli import main as export
from ser_live.model.card import METADATA_KEY
from ser_live.model.classifier import OnnxClassifier
from ser_train.commands import cli
from ser_train.models import registry

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("no_pictures")]

PAGE = (Path(__file__).parents[2] / "docs" / "own-models.md").read_text("utf-8")
COMMANDS = {"ser-train": cli.main, "ser-export": export}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The files of the page, and nobody else's cache."""
    for code in re.findall(r"```python\n(# (\S+)\n.*?)```", PAGE, re.DOTALL):
        (tmp_path / code[1]).write_text(code[0])
    (card,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "card.json").write_text(card)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(registry, "NETWORKS", {**registry.NETWORKS})
    monkeypatch.setattr("ser_train.files.default_cache_folder", lambda: tmp_path / "cache")
    yield tmp_path
    sys.modules.pop("mynet", None)


def run(begins: str, *more: str) -> None:
    """Run the command of the page that begins so."""
    (line,) = re.findall(rf"^{re.escape(begins)}.*$", PAGE, re.MULTILINE)
    name, *words = line.split()
    assert COMMANDS[name]([*words, *more]) == 0


def test_a_network_of_the_page_is_trained_and_exported(folder: Path) -> None:
    tiny_corpora.write_table(folder / "mine.csv", "abc")
    short = ("--epochs", "1", "--batch", "2")
    run("ser-train cross-validate", *short, "--folds", "0")
    run("ser-train fit", *short, "--test-speakers", "mine/a")
    run("ser-train evaluate mine.keras")
    run("ser-export mine.keras")
    assert OnnxClassifier.load("mine.onnx").card.network == "mynet:build"


@pytest.mark.parametrize("kind", ["foreign.onnx", "plain.keras"])
def test_a_graph_of_another_program_gets_card_and_golden_test(kind: str, folder: Path) -> None:
    stem = kind.partition(".")[0]
    runpy.run_path(f"make_{stem}.py")
    run(f"ser-export {kind}")
    classifier = OnnxClassifier.load(f"{stem}-mine.onnx")
    assert (classifier.card.name, classifier.card.labels) == ("mine", ("calm", "angry"))
    assert classifier.card.golden is not None
    window = np.random.default_rng(0).random((60, 257), np.float32)
    assert classifier.probabilities(window).sum() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("changes", "card", "reason"),
    [
        ({}, {"labels": ["a", "b", "c"]}, "the graph's outputs are .* wants 'probabilities'"),
        ({}, {"spectrum": {"fft_samples": 1024}}, "the graph's inputs are .* 'frames', 513"),
        ({"Softmax": "Identity"}, {}, "wanted probabilities that sum to 1"),
        ({"Log": "RandomNormalLike"}, {}, "uses the operator 'RandomNormalLike'"),
        ({}, {"labels": "ab"}, "card.labels is 'ab', wanted a list"),
        ({}, {"label": []}, "unknown field 'label'; the fields are name, labels, licence"),
    ],
)
def test_a_graph_that_breaks_the_contract_is_refused(
    changes: dict[str, str],
    card: dict[str, object],
    reason: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runpy.run_path("make_foreign.py")
    graph = onnx.load("foreign.onnx")
    for node in graph.graph.node:
        if node.op_type in changes:
            node.op_type = changes[node.op_type]
            del node.attribute[:]
    onnx.save(graph, "foreign.onnx")
    told = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**told, **card}))
    assert export(["foreign.onnx", "--card", "card.json", "-o", "mine.onnx"]) == 2
    assert re.search(reason, capsys.readouterr().err.splitlines()[-1])
    assert not (folder / "mine.onnx").exists()


def test_a_graph_without_a_card_wants_one(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path("make_foreign.py")
    assert export(["foreign.onnx", "-o", "mine.onnx"]) == 2
    assert "wants --card CARD.json" in capsys.readouterr().err
    assert not any(p.key == METADATA_KEY for p in onnx.load("foreign.onnx").metadata_props)
