"""Make one model file of several that exist."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from ser_live.errors import SerError
from ser_live.model.card import Calibration, Corpus, ModelCard
from ser_live.text import sanitize
from ser_train.cross_validation.ledger import Ledger
from ser_train.cross_validation.measurement import measure_ledger
from ser_train.evaluation.calibration import HeldOutAnswers, calibrate
from ser_train.models.ensemble import combine
from ser_train.models.keras_file import ModelFile, load_model, save_model
from ser_train.models.registry import network_of
from ser_train.models.training_record import TrainingRecord, join_marks, record_of_roles
from ser_train.reports.model_card import strictest_licence

_SAME = ("labels", "sample_rate_hz", "spectrum", "window", "gate", "prior")
"""Fields of the card that the members must agree in."""


def merge(
    sources: Sequence[Path], target: Path, name: str | None, cross_validation: Path | None = None
) -> ModelCard:
    """Put models side by side into one file with one card.

    Parameters
    ----------
    sources : sequence of Path
        Two or more ``.keras`` files.
    target : Path
        The ``.keras`` file to write.
    name : str or None
        Of the new model; None: the target's.
    cross_validation : Path or None
        Report folder of the members' network with as many seeds, whose mean answers to held-out
        clips set temperature and threshold; None: each member keeps its own.

    Returns
    -------
    ModelCard
        Without metrics: those of the members are not those of the ensemble.

    Raises
    ------
    SerError
        If a file cannot be read, there are fewer than two, the members differ in labels or in
        what they hear, or the report is of others.
    """
    if target.suffix != ".keras":
        raise SerError(f"-o names {target}, wanted a file that ends in .keras")
    if len(sources) < 2:
        raise SerError(f"an ensemble needs at least 2 models, got {len(sources)}")
    files = [load_model(path) for path in sources]
    for path, file in zip(sources, files, strict=True):
        if file.card.ordinary_odds:
            raise SerError(
                f"{sanitize(path)}: has the output 'ordinary', which an ensemble cannot join, "
                "wanted models without (ordinary_odds 0 in the card)"
            )
    for path, file in zip(sources[1:], files[1:], strict=True):
        _require_same(files[0].card, sources[0], file.card, path)
    cards = [file.card for file in files]
    joined = "+".join(card.network for card in cards)
    network = network_of(dataclasses.replace(cards[0], network=joined))
    card = _card(cards, network.name, name or target.stem)
    answers = _held_out(cross_validation, cards) if cross_validation else None
    for file in files if answers else ():
        file.model.get_layer("temperature").temperature.assign(1.0)
    model = combine([file.model for file in files], network.front_end)
    if answers:
        found = calibrate(model, answers)
        threshold = found.smoothing.uncertain_below
        smoothing = dataclasses.replace(card.smoothing, uncertain_below=threshold)
        card = dataclasses.replace(card, smoothing=smoothing, calibration=found.calibration)
    save_model(target, model, card, _record(sources, files))
    return card


def _require_same(first: ModelCard, path: Path, other: ModelCard, other_path: Path) -> None:
    for field in _SAME:
        wanted, got = getattr(first, field), getattr(other, field)
        if got != wanted:
            raise SerError(
                f"{sanitize(other_path)}: its {field} is {got}, that of {sanitize(path)} is "
                f"{wanted}; the members of an ensemble must hear and answer the same"
            )


def _held_out(folder: Path, cards: Sequence[ModelCard]) -> HeldOutAnswers:
    """Read the answers of the mean of several seeds, before any temperature."""
    measured = measure_ledger(Ledger(folder))
    one, network = measured.ensemble, measured.rows[0].configuration.network
    got = (len(measured.seeds), {network}, measured.pools[0].labels)
    if one is None or got != (len(cards), {card.network for card in cards}, cards[0].labels):
        raise SerError(
            f"{sanitize(folder)}: holds {len(measured.seeds)} seeds of {network} with the labels "
            f"{', '.join(got[2])}; wanted {len(cards)} seeds of {cards[0].network} with "
            f"{', '.join(cards[0].labels)}"
        )
    words = f"the mean answers of {got[0]} seeds of {measured.protocol.name} to {len(one.truth)} "
    answers = (one.raw[measured.headline], one.truth)
    return HeldOutAnswers((answers,), words + "clips held out from them")


def _card(cards: Sequence[ModelCard], network: str, name: str) -> ModelCard:
    first, names = cards[0], ", ".join(card.name for card in cards)
    licences = [card.licence for card in cards]
    thresholds = [card.smoothing.uncertain_below for card in cards]
    threshold = round(sum(thresholds) / len(thresholds), 3)
    method = f"each member with its own temperature; not fitted to the mean of {names}"
    return dataclasses.replace(
        first,
        name=name,
        network=network,
        # One that is not known is the strictest of all, unless all have it.
        licence=licences[0] if len(set(licences)) == 1 else strictest_licence(licences),
        description=f"The mean of the probabilities of {len(cards)} models: {names}.",
        smoothing=dataclasses.replace(first.smoothing, uncertain_below=threshold),
        calibration=Calibration(1.0, method),
        corpora=_corpora(cards),
        metrics=(),
        limits=" ".join(dict.fromkeys(card.limits for card in cards if card.limits)),
        golden=None,
    )


def _corpora(cards: Sequence[ModelCard]) -> tuple[Corpus, ...]:
    """Return each corpus once, as the member that heard most of it has it."""
    every = [corpus for card in cards for corpus in card.corpora]
    names = sorted({corpus.name for corpus in every})
    alike = [[corpus for corpus in every if corpus.name == name] for name in names]
    return tuple(max(own, key=lambda corpus: corpus.clips) for own in alike)


def _record(sources: Sequence[Path], files: Sequence[ModelFile]) -> TrainingRecord:
    """Join the speakers of all members: a test speaker must be one for each of them."""
    records = []
    for path, file in zip(sources, files, strict=True):
        if file.record is None:
            raise SerError(
                f"{sanitize(path)} does not say who was in training, wanted a model of "
                "ser-train fit"
            )
        records.append(file.record)
    training = (speaker for record in records for speaker in record.training_speakers)
    held = (speaker for record in records for speaker in record.validation_speakers)
    tested = set.intersection(*(set(record.test_speakers) for record in records))
    marks = join_marks(*(record.recordings for record in records))
    return record_of_roles(training, held, tested, records[0].seed, marks)
