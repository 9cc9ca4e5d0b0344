"""Recipes of trainings: every number of them, as frozen records."""

import contextlib
import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ser_live.errors import SerError
from ser_live.model.json_records import record_from_json
from ser_live.text import sanitize

_AT_MOST_ONE = ("probability", "share", "smoothing", "momentum", "balance")
"""Ends of the names of numbers that are at most 1."""
_AT_LEAST_ONE = ("epochs", "clips", "voices", "blocks")


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Strength of the variation of training windows; a probability is for each window."""

    warp_probability: float = 0.3
    warp_share: float = 0.08
    """Largest relative shift of the frequency axis (vocal tract length)."""
    room_probability: float = 0.15
    reverberation_seconds: tuple[float, float] = (0.1, 0.6)
    """Range of the time in which the tail falls by 60 dB."""
    reverberation_db: tuple[float, float] = (-15.0, -3.0)
    """Range of the tail's power relative to the direct sound."""
    equaliser_db: float = 2.0
    """Standard deviation of the gain at each of seven knots, even in mels."""
    tilt_db_per_octave: float = 0.6
    """Largest spectral tilt either way."""
    babble_probability: float = 0.0
    babble_voices: tuple[int, int] = (2, 8)
    """Fewest and most other windows of the batch that are heard behind one."""
    babble_snr_db: tuple[float, float] = (5.0, 30.0)
    noise_probability: float = 0.5
    noise_snr_db: tuple[float, float] = (8.0, 45.0)
    noise_tilt_db_per_octave: tuple[float, float] = (-9.0, 0.0)
    """Range of the noise's colour: 0 is white, -3 pink, -6 brown."""
    channel_probability: float = 0.0
    channel_low_hz: tuple[float, float] = (50.0, 400.0)
    """Range of the lower edge of a narrow channel."""
    channel_high_hz: tuple[float, float] = (3000.0, 7500.0)
    """Range of its upper edge."""
    channel_loss_db: tuple[float, float] = (25.0, 80.0)
    """Range of what it takes away outside."""
    mel_mask_share: float = 0.16
    """Widest masked part of the mel axis (one mask)."""
    time_mask_seconds: float = 0.2
    """Longest masked stretch (one mask)."""


@dataclass(frozen=True, slots=True)
class WaveformAugmentation:
    """Strength of the variation of recordings; a probability is for each copy."""

    copies: int = 3
    """Of each recording, a window each."""
    every_seconds: float = 0.0
    """So many copies for each such stretch of speech; 0: however long it is."""
    unchanged_share: float = 0.0
    """Of the copies that are only cut."""
    speed_probability: float = 0.6
    speed: tuple[float, float] = (0.87, 1.15)
    """Range; pitch and formants move with it."""
    equaliser_probability: float = 0.7
    equaliser_db: float = 2.5
    """Standard deviation of the gain at each of seven knots, even in mels."""
    tilt_db_per_octave: float = 1.0
    """Largest spectral tilt either way."""
    room_probability: float = 0.4
    rt60_seconds: tuple[float, float] = (0.15, 0.9)
    direct_to_reverberant_db: tuple[float, float] = (-6.0, 8.0)
    babble_probability: float = 0.2
    babble_voices: tuple[int, int] = (2, 6)
    """Fewest and most, of the speaker's own recordings at other speeds."""
    babble_snr_db: tuple[float, float] = (5.0, 30.0)
    noise_probability: float = 0.4
    noise_snr_db: tuple[float, float] = (8.0, 40.0)
    noise_tilt_db_per_octave: tuple[float, float] = (-9.0, 0.0)
    telephone_probability: float = 0.15
    codec_probability: float = 0.15
    """Of MP3 or Opus at low rates, where no telephone is heard."""


@dataclass(frozen=True, slots=True)
class WindowSampling:
    """Cutting of training windows from a clip."""

    speeds: tuple[float, ...] = (1.0, 0.95, 1.05, 0.9, 1.1, 0.85, 1.15)
    """Playback speeds that are kept in the cache; the first must be 1."""
    speed_probability: float = 0.75
    """Share of windows taken at a random speed."""
    shortest_seconds: float = 1.0
    short_below_seconds: float = 2.0
    longest_seconds: float = 3.0
    short_probability: float = 0.2
    """Share of batches shorter than ``short_below_seconds``."""
    onset_probability: float = 0.4
    """Share of windows of long clips that start at the speech onset."""


@dataclass(frozen=True, slots=True)
class UpperBlocks:
    """Training of the last blocks of a pretrained encoder, and further of the head, after it."""

    blocks: int = 1
    epochs: int = 12
    batch_clips: int = 32
    learning_rate: float = 1e-4
    weight_decay: float = 0.05
    ema_momentum: float = 0.995


@dataclass(frozen=True, slots=True)
class Recipe:
    """Optimiser, schedule and data of one training."""

    epochs: int
    batch_clips: int
    learning_rate: float
    """Highest rate of the schedule: linear warm-up, then cosine decay to a hundredth."""
    optimiser: str = "adamw"
    """ "adamw" or "rmsprop"."""
    weight_decay: float = 0.0
    warm_up_share: float = 0.08
    """Share of all steps that the warm-up takes."""
    ema_momentum: float = 0.0
    """Exponential moving average of the weights; 0 keeps the last weights."""
    label_smoothing: float = 0.0
    mixup: float = 0.0
    """Both parameters of the beta distribution of the mixing weight."""
    label_balance: float = 0.0
    """Share of the logarithm of a label's frequency that the loss adds to its logit: at 1, the
    network does not learn how frequent a label is."""
    balanced_corpora: bool = False
    """True: an epoch draws equally many clips of each corpus (see `Batches`), not all clips."""
    windows: WindowSampling | None = None
    """None: the first window of each clip through a front end without trainable weights, once."""
    waveforms: WaveformAugmentation | None = None
    """Through such a front end, changed copies of a clip beside its first window; None: ``windows``
    cuts further ones at each of its speeds."""
    augmentation: Augmentation | None = None
    upper: UpperBlocks | None = None
    """None: a pretrained encoder stays as it is published."""
    mixed_precision: bool = False
    """True: products and convolutions are trained in bfloat16, all else and the weights in
    float32. It pays on a GPU that has units for it."""


@dataclass(frozen=True, slots=True)
class OrdinaryHead:
    """Training of a second head that tells ordinary talk from acted emotion, and its prior."""

    training: Recipe = Recipe(
        epochs=1,
        batch_clips=64,
        learning_rate=5e-4,
        weight_decay=30.0,
        warm_up_share=0.1,
        ema_momentum=0.99,
        label_smoothing=0.02,
    )
    """The decay is what makes it hold on strangers."""
    steps: int = 500
    dropout: float = 0.5
    windows: WindowSampling = WindowSampling(short_probability=0.3, onset_probability=0.1)
    copies: int = 22
    """Windows of each stretch of talk."""
    every_seconds: float = 7.0
    """Length of such a stretch."""
    unchanged_share: float = 6 / 22
    acted_copies: int = 2
    """Windows of each acted clip, where they are not in the cache."""
    ordinary_odds: float = 0.08
    """Of ordinary talk against acted emotion, for the card."""
    prior: tuple[tuple[str, float], ...] = (("neutral", 2.0),)
    """Labels and their odds, for the card."""


ORDINARY_HEAD = OrdinaryHead()


def with_settings(recipe: Recipe, settings: Sequence[tuple[str, str]]) -> Recipe:
    """Replace fields of a recipe.

    Parameters
    ----------
    recipe : Recipe
    settings : sequence of (str, str)
        Path of a field, such as "recipe.augmentation.noise_probability", and its value as JSON;
        lists may lack their brackets, and words their quotes. A record that is None gets its
        defaults beside the field.

    Raises
    ------
    SerError
        If there is no such field, or a value is of another type or out of range.
    """
    if not settings:
        return recipe
    data: dict[str, Any] = {"recipe": dataclasses.asdict(recipe)}
    for path, text in settings:
        *outer, field = path.split(".")
        if (outer or [field])[0] != "recipe":
            raise SerError(
                f"--set names {sanitize(path)}, wanted a field of the recipe: recipe.FIELD=VALUE"
            )
        place = data
        for name in outer:
            inner = place.get(name)
            place[name] = inner if isinstance(inner, dict) else {}
            place = place[name]
        place[field] = _value(text)
    try:
        changed = record_from_json(Recipe, json.dumps(data["recipe"]), "recipe")
        require_sane(changed, "recipe")
    except SerError as error:
        raise SerError(f"--set: {error}") from error
    return changed


def _value(text: str) -> object:
    for form in (text, f"[{text}]"):
        with contextlib.suppress(ValueError):
            return json.loads(form)
    return text


def require_sane(record: Any, where: str) -> None:
    """Check the numbers of a recipe by their names, and those of the records in it.

    Raises
    ------
    SerError
        Naming the first that is out of range.
    """
    if isinstance(record, WindowSampling):
        lengths = record.shortest_seconds, record.short_below_seconds, record.longest_seconds
        if sorted(lengths) != [*lengths]:
            raise SerError(
                f"{where} has shortest_seconds, short_below_seconds and longest_seconds {lengths}, "
                "wanted none smaller than the one before"
            )
    for field in dataclasses.fields(record):
        value, name = getattr(record, field.name), f"{where}.{field.name}"
        if dataclasses.is_dataclass(value):
            require_sane(value, name)
        elif field.name == "optimiser" and value not in ("adamw", "rmsprop"):
            raise SerError(f"{name} is {value!r}, wanted adamw or rmsprop")
        elif field.name == "speeds" and not (value and value[0] == 1.0 and min(value) > 0.0):
            raise SerError(f"{name} is {value}, wanted speeds above 0, the first of them 1")
        elif isinstance(value, int | float | tuple):
            lowest = -100.0 if "_db" in name else float(name.endswith(_AT_LEAST_ONE))
            highest = 1.0 if name.endswith(_AT_MOST_ONE) else math.inf
            numbers = value if isinstance(value, tuple) else (value,)
            if not all(lowest <= number <= highest for number in numbers):
                wanted = f"{lowest:g} or more" if highest > 1.0 else "0 to 1"
                raise SerError(f"{name} is {value}, wanted {wanted}")
            if field.name != "speeds" and numbers[0] > numbers[-1]:
                raise SerError(f"{name} is {value}, wanted the lower number first")
