"""Job of a cross-validation, what is left of it to do, and the code that will do it."""

import contextlib
import dataclasses
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from typing import Any

from ser_live.errors import SerError
from ser_live.hardware import processor_name
from ser_live.model.card import ModelCard
from ser_train.corpora import Clip, labels_of
from ser_train.cross_validation.ledger import Configuration, Ledger
from ser_train.cross_validation.protocols import Protocol, find_protocol
from ser_train.data.recordings import Recordings
from ser_train.models.keras_file import fingerprint, read_record, require_one_start
from ser_train.models.registry import Network, find_network, network_of
from ser_train.models.training_record import TrainingRecord, heard_before

_ROOT = Path(__file__).parents[3]
_CODE = ("realtime", "train", "export", "pyproject.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """Options of ``ser-train fit`` and ``ser-train cross-validate`` alike."""

    recordings: Recordings
    network: str
    """Empty where a model is adapted: its own."""
    cache_folder: Path
    seed: int = 0
    """Of a cross-validation the first one."""
    encoder: Path | None = None
    """File of a pretrained encoder, where the network begins with one."""
    epochs: int | None = None
    """None: the network's own."""
    batch_clips: int | None = None
    """None: the network's own."""
    skip_broken: bool = False
    settings: tuple[tuple[str, str], ...] = ()
    """Fields of the recipe and their values, as `with_settings` takes them."""
    command_line: str = ""
    """For the ledger or ``metrics.json``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossValidation(TrainingJob):
    """Everything that ``ser-train cross-validate`` is told."""

    protocol: str
    report_folder: Path
    run_folder: Path | None = None
    """For checkpoints; None: the folder ``runs`` in the report folder."""
    seeds: int = 1
    folds: tuple[int, ...] | None = None
    """None: all."""
    also: tuple[Path, ...] = ()
    """Folders and tables of further corpora, which train in every fold and are never tested."""
    init: Path | None = None
    """A model that every fold begins with, and that has heard no tested speaker."""
    threads: int | None = None
    """Of TensorFlow, for the ledger."""
    tables: tuple[str, ...] = ()
    """Forms of the tables beside the report: "csv", "latex"."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Consequences of a job and of the files in its folders."""

    job: CrossValidation
    network: Network
    protocol: Protocol
    configuration: Configuration
    clips: tuple[Clip, ...]
    """Of the protocol."""
    also: tuple[Clip, ...]
    fold_names: tuple[str, ...]
    ledger: Ledger
    commit: str | None
    """Of the source tree before the training: files may change later."""

    @property
    def tested_corpora(self) -> frozenset[str]:
        """Names of the corpora that are tested."""
        return frozenset(clip.corpus for clip in self.clips)

    def missing(self) -> list[tuple[int, int]]:
        """Return the seeds and folds that are wanted and not in the ledger."""
        job = self.job
        folds = job.folds if job.folds is not None else range(len(self.fold_names))
        finished = {row.key for row in self.ledger.rows()}
        wanted = product(range(job.seed, job.seed + job.seeds), folds)
        return [key for key in wanted if key not in finished]

    def run_folder(self, seed: int, fold: int) -> Path:
        """Name the folder of a fold's checkpoint."""
        folder = self.job.run_folder or self.job.report_folder / "runs"
        return folder / f"seed{seed}-fold{fold}"


def make_plan(job: CrossValidation) -> Plan:
    """Look at the recordings; no sound is read.

    Raises
    ------
    SerError
        If network or protocol are unknown, or the recordings do not fit the protocol.
    """
    protocol = find_protocol(job.protocol)
    with_speakers = protocol.speaker_independent
    clips = protocol.choose(dataclasses.replace(job.recordings, with_speakers=with_speakers).find())
    card = _first(job, protocol, clips)
    if job.network:
        network = find_network(job.network).with_encoder(job.encoder)
    if card:
        network = network_of(card)
    network = network.with_settings(job.settings).with_length(job.epochs, job.batch_clips)
    recipe = json.loads(json.dumps(dataclasses.asdict(network.recipe)))
    if card:
        recipe |= {"epochs": job.epochs or 0, "batch_clips": job.batch_clips or 0}
    also = _also(job, protocol, clips)
    names = protocol.fold_names(clips)
    outside = [fold for fold in job.folds or () if not 0 <= fold < len(names)]
    if outside:
        raise SerError(f"there is no fold {outside[0]}; the folds are 0 to {len(names) - 1}")
    configuration = Configuration(
        protocol=protocol.name,
        network=network.name,
        window_seconds=network.window.seconds,
        recipe=recipe,
        also=tuple(sorted({clip.corpus for clip in also})),
        mapping=job.recordings.mapping,
        dropped=job.recordings.dropped,
        init_name=card.name if card else "",
        init_sha256=fingerprint(job.init) if job.init else "",
        encoder_sha256=network.encoder.sha256 if network.encoder else "",
        settings=job.settings,
        code_sha256=network.code_sha256,
        corpora=() if protocol.corpora else tuple(sorted({clip.corpus for clip in clips})),
    )
    plan = Plan(
        job=job,
        network=network,
        protocol=protocol,
        configuration=configuration,
        clips=clips,
        also=also,
        fold_names=names,
        ledger=Ledger(job.report_folder),
        commit=commit(),
    )
    for seed, fold in plan.missing():  # what cannot be split is told before anything is computed
        protocol.split(clips, fold, seed)
    return plan


def _first(job: CrossValidation, protocol: Protocol, clips: Sequence[Clip]) -> ModelCard | None:
    """Return the card of the model that every fold begins with, if there is one."""
    require_one_start(job.network, job.init, job.encoder, job.settings)
    if job.init is None:
        return None
    card, record = read_record(job.init)
    require_unheard(job.init, record, protocol, clips)
    return card


def require_unheard(
    init: Path,
    record: TrainingRecord | None,
    protocol: Protocol,
    clips: Sequence[Clip],
    contents: Sequence[str] = (),
) -> None:
    """Refuse a first model that knows a clip by its speaker or, as far as given, its content."""
    known = heard_before(record, clips, contents)
    if known and protocol.speaker_independent:
        raise SerError(
            f"{init}: {known}; {protocol.name} wants a first model that has heard no tested speaker"
        )


def _also(job: CrossValidation, protocol: Protocol, clips: Sequence[Clip]) -> tuple[Clip, ...]:
    """Find the clips of ``--also`` with labels of the tested clips; others stay out."""
    if not job.also:
        return ()
    labels = labels_of(clips)
    found = Recordings(*Recordings.part(job.also), all_labels=job.recordings.all_labels).find()
    tested = sorted({clip.corpus for clip in found} & {clip.corpus for clip in clips})
    if tested:
        raise SerError(
            f"--also holds {', '.join(tested)}, which {protocol.name} tests; wanted other corpora"
        )
    chosen = tuple(clip for clip in found if clip.label in labels)
    if not chosen:
        raise SerError(f"--also holds no clip with one of the labels {', '.join(labels)}")
    return chosen


def conditions(command: str) -> dict[str, Any]:
    """Return what a figure is to be told with: the command line, versions and the machine."""
    versions = {"python": platform.python_version()}
    for package in ("keras", "tensorflow", "ser-live"):
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    system, cores = f"{platform.system()} {platform.machine()}", f"{os.cpu_count() or 1} cores"
    machine = f"{system}, {processor_name()}, {cores}"
    return {"command": command, "versions": versions, "machine": machine}


def commit(root: Path = _ROOT) -> str | None:
    """Return the commit of the source tree; "-dirty" behind it says that code differs from it.

    A report that grows in the same checkout is no code.

    Returns
    -------
    str or None
        None where the package does not lie in a checkout of its own, or without git.
    """
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--", *_CODE)
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}-dirty" if changed else head


def _git(root: Path, *command: str) -> str:
    done = subprocess.run(["git", *command], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()
