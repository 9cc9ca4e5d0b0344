"""The finished folds of a cross-validation, pooled and put into words."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ser_train import report as pictures
from ser_train.disk import write_atomically
from ser_train.folds import POSTERIORS, RESULT, FoldResult, Posteriors
from ser_train.measuring import heard
from ser_train.metrics import Scores, score
from ser_train.networks import Network
from ser_train.protocols import Protocol

SUMMARY = "summary.json"


def summarise(folder: Path, network: Network, protocol: Protocol, seed: int) -> tuple[str, ...]:
    """Pool the finished folds in a folder; write pictures, ``summary.json`` and ``summary.md``.

    Returns
    -------
    tuple of str
        Lines of Markdown.
    """
    folders = sorted(path.parent for path in folder.glob(f"fold*/{RESULT}"))
    results = [FoldResult.load(path / RESULT) for path in folders]
    folds = [Posteriors.load(path / POSTERIORS) for path in folders]
    labels, truth = folds[0].labels, np.concatenate([fold.truth for fold in folds])
    window = np.concatenate([fold.window for fold in folds])
    whole = np.concatenate([fold.whole for fold in folds])
    kind = "speaker-independent" if protocol.speaker_independent else "speaker-dependent"
    pictures.draw_measured(folder, window, truth, labels, f"{network.name}, {kind}")
    pooled = (score(window, truth), score(whole, truth))
    data = {
        "protocol": protocol.words,
        "speaker_independent": protocol.speaker_independent,
        "labels": labels,
        "window": dataclasses.asdict(pooled[0]),
        "whole": dataclasses.asdict(pooled[1]),
        "folds": [dataclasses.asdict(result) for result in results],
    }
    pictures.write_json(folder / SUMMARY, data)
    lines = _markdown(seed, network, protocol, results, pooled[0], pooled[1], labels)
    text = "\n".join(lines) + "\n"
    write_atomically(folder / "summary.md", lambda path: path.write_text(text, encoding="utf-8"))
    return lines


def _markdown(
    seed: int,
    network: Network,
    protocol: Protocol,
    results: Sequence[FoldResult],
    window: Scores,
    whole: Scores,
    labels: tuple[str, ...],
) -> tuple[str, ...]:
    done = f"{len(results)} of {protocol.folds} folds"
    rows = [_row("pooled: " + heard(network, whole=False), window, [r.window for r in results])]
    if not network.front_end:
        rows.append(
            _row("pooled: " + heard(network, whole=True), whole, [r.whole for r in results])
        )
    rows += [_row(f"fold {result.fold}", result.window, []) for result in results]
    recalls = ", ".join(
        f"{label} {100 * (recall or 0):.0f}"
        for label, recall in zip(labels, window.recalls, strict=True)
    )
    return (
        f"# {network.name}, {protocol.name}",
        "",
        f"Protocol: {protocol.words}; {done}; seed {seed}; "
        f"{network.recipe.epochs} epochs of {network.recipe.batch_clips} clips a batch.",
        "",
        "| heard | UAR % | WA % | mean and sd of UAR over folds | ECE % | NLL | clips |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
        f"Recall %: {recalls}.",
    )


def _row(name: str, scores: Scores, folds: Sequence[Scores]) -> str:
    spread = ""
    if len(folds) > 1:
        values = 100 * np.array([fold.uar for fold in folds])
        spread = f"{values.mean():.1f} ± {values.std(ddof=1):.1f}"
    return (
        f"| {name} | {100 * scores.uar:.1f} | {100 * scores.wa:.1f} | {spread} | "
        f"{100 * scores.ece:.1f} | {scores.nll:.3f} | {scores.count} |"
    )
