"""Model card: everything that a model file says about itself, as checked records.

The card rides inside the ONNX file (metadata key ``ser.card``) as JSON, and beside the weights
in a ``.keras`` archive (member ``ser.card.json``).
"""

import dataclasses
import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from ser_live.errors import SerError
from ser_live.model.json_records import record_from_json
from ser_live.text import quoted, sanitize

METADATA_KEY = "ser.card"
KERAS_MEMBER = "ser.card.json"
SCHEMA_VERSION = 2
"""Of 1 are those without prior and encoder, which are read as ever."""
SAMPLE_RATE_HZ = 16000
LONGEST_CARD = 2**20
"""Characters of a card as JSON, the golden test included."""
MOST_LABELS = 100
LONGEST_NAME = 60
"""Characters of the name of a model or a label."""
MOST_ODDS = 1000.0
"""Odds of a prior, and their inverse, are at most that."""
NEUTRAL = "neutral"
"""Label of ordinary talk."""
RECALL_OF = "recall of "
"""Beginning of the name of a metric that is the recall of a label."""
LONGEST_WINDOW_SECONDS = 30.0
LONGEST_PRE_ROLL_SECONDS = 0.5
_MOST_WINDOW_NUMBERS = 2**22
"""Numbers in the spectrum of the longest window: 16 MiB."""


def _require(field: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:
        raise SerError(f"card.{field} is {quoted(value)}, wanted {lowest:g} to {highest:g}")


def _require_name(field: str, value: str) -> None:
    if not value.strip() or len(value) > LONGEST_NAME:
        raise SerError(f"card.{field} is {quoted(value)}, wanted 1 to {LONGEST_NAME} characters")


def require_odds(
    where: str, odds: Mapping[str, float], labels: Collection[str], lowest: float = 1.0 / MOST_ODDS
) -> None:
    """Raise SerError unless odds are of known labels, and each within the bounds."""
    for label, value in odds.items():
        if label not in labels:
            wanted = sanitize(", ".join(labels))
            raise SerError(f"{where} names {quoted(label)}, wanted labels of {wanted}")
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (is_number and lowest <= value <= MOST_ODDS):
            what = "" if is_number else "a plain number, "
            raise SerError(
                f"{where} of {label!r} is {quoted(value)}, wanted {what}{lowest:g} to {MOST_ODDS:g}"
            )


@dataclass(frozen=True, slots=True)
class SpectrumSpec:
    """The short-time Fourier transform in front of the network."""

    fft_samples: int = 512
    """Length of the transform and of its periodic Hann window."""
    hop_samples: int = 160
    """Samples from one frame to the next."""

    def __post_init__(self) -> None:
        _require("spectrum.fft_samples", self.fft_samples, 32, 8192)
        longest_samples = LONGEST_WINDOW_SECONDS * SAMPLE_RATE_HZ
        fewest = math.ceil(longest_samples * self.bins / _MOST_WINDOW_NUMBERS)
        _require("spectrum.hop_samples", self.hop_samples, fewest, self.fft_samples)

    @property
    def bins(self) -> int:
        """Frequency bins of a frame."""
        return self.fft_samples // 2 + 1

    def frames_in(self, samples: int) -> int:
        """Whole frames in ``samples`` samples."""
        return max(0, (samples - self.fft_samples) // self.hop_samples + 1)


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """Window of audio that one prediction rests on."""

    seconds: float = 3.0
    """The longest window."""
    hop_seconds: float = 0.25
    """From one prediction to the next."""
    warm_up_seconds: float = 1.0
    """Speech needed since the onset before the first prediction."""
    closing_seconds: float = 0.3
    """Speech needed for a prediction when the stream ends during the warm-up."""
    pre_roll_seconds: float = 0.1
    """Audio before the onset that belongs to the window."""

    def __post_init__(self) -> None:
        _require("window.seconds", self.seconds, 1.0, LONGEST_WINDOW_SECONDS)
        _require("window.hop_seconds", self.hop_seconds, 0.01, 10.0)
        _require("window.warm_up_seconds", self.warm_up_seconds, 0.3, self.seconds)
        _require("window.closing_seconds", self.closing_seconds, 0.2, self.warm_up_seconds)
        _require("window.pre_roll_seconds", self.pre_roll_seconds, 0.0, LONGEST_PRE_ROLL_SECONDS)


@dataclass(frozen=True, slots=True)
class GateSpec:
    """Start and end of speech."""

    onset_probability: float = 0.5
    """A step at or above it counts towards an onset."""
    onset_steps: int = 3
    """Steps that must count ..."""
    onset_of_steps: int = 4
    """... of so many latest ones."""
    release_probability: float = 0.35
    """A step below it counts towards the end of speech."""
    release_seconds: float = 0.4
    """Speech ends after so long below ``release_probability``."""
    restart_seconds: float = 0.6
    """An onset after so much silence begins a new utterance."""

    def __post_init__(self) -> None:
        _require("gate.onset_probability", self.onset_probability, 0.01, 0.99)
        _require("gate.onset_of_steps", self.onset_of_steps, 1, 32)
        _require("gate.onset_steps", self.onset_steps, 1, self.onset_of_steps)
        _require("gate.release_probability", self.release_probability, 0.0, self.onset_probability)
        _require("gate.release_seconds", self.release_seconds, 0.03, 5.0)
        _require("gate.restart_seconds", self.restart_seconds, self.release_seconds, 10.0)


@dataclass(frozen=True, slots=True)
class SmoothingSpec:
    """Smoothing of single windows to a steady label."""

    seconds: float = 0.5
    """Time constant of the exponential mean of the probabilities."""
    switch_margin: float = 0.1
    """A new label must exceed the present one by so much probability."""
    minimum_dwell_seconds: float = 0.5
    """A label stays at least so long."""
    uncertain_below: float = 0.4
    """Confidence under it is reported as state "uncertain"."""

    def __post_init__(self) -> None:
        _require("smoothing.seconds", self.seconds, 0.0, 60.0)
        _require("smoothing.switch_margin", self.switch_margin, 0.0, 1.0)
        _require("smoothing.minimum_dwell_seconds", self.minimum_dwell_seconds, 0.0, 60.0)
        _require("smoothing.uncertain_below", self.uncertain_below, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Calibration of the confidence; the temperature itself is applied inside the graph."""

    temperature: float = 1.0
    """Logits are divided by it."""
    method: str = "none"
    """On which data it was fitted."""

    def __post_init__(self) -> None:
        _require("calibration.temperature", self.temperature, 0.01, 100.0)


@dataclass(frozen=True, slots=True)
class Corpus:
    """A corpus that the weights were trained on."""

    name: str
    clips: int
    speakers: int
    licence: str


@dataclass(frozen=True, slots=True)
class Metric:
    """One measured figure with everything needed to believe it."""

    name: str
    """Standard name: UAR, WA, ECE ..."""
    value: float
    protocol: str
    """Splits, selection and seeds in words."""
    speaker_independent: bool
    """False: the test speakers were also in training."""
    count: int
    """Clips that the figure rests on."""
    spread: float | None = None
    """Standard deviation, None where there is no repetition."""
    spread_over: str = ""
    """Unit of the deviation: folds, seeds, speakers."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """A pretrained speech encoder inside the network, whose weights others trained."""

    name: str
    sha256: str
    """Of the file that the weights were read from."""
    licence: str
    """Of the weights (SPDX identifier)."""

    def __post_init__(self) -> None:
        _require_name("encoder.name", self.name)
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise SerError(
                f"card.encoder.sha256 is {quoted(self.sha256)}, wanted 64 hexadecimal digits"
            )


@dataclass(frozen=True, slots=True)
class GoldenTest:
    """A small input and the probabilities it must give: run at every load."""

    spectrum: str
    """Base64 of (frames, bins) little-endian float16 power spectrum, zlib-compressed."""
    frames: int
    probabilities: tuple[float, ...]
    tolerance: float = 1e-3
    """Worst allowed absolute difference of a probability."""
    ordinary: float | None = None
    """Probability that the output "ordinary" must give, where the network has it."""

    def __post_init__(self) -> None:
        _require("golden.frames", self.frames, 1, 1000)
        _require("golden.tolerance", self.tolerance, 0.0, 0.05)


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Description of a model: its input, its labels and its measured accuracy.

    Examples
    --------
    >>> from ser_live import StreamRecognizer
    >>> card = StreamRecognizer("emotion-light").card
    >>> card.sample_rate_hz, card.labels[0]
    (16000, 'neutral')
    """

    name: str
    labels: tuple[str, ...]
    licence: str
    """Licence of the weights (SPDX identifier)."""
    description: str = ""
    network: str = ""
    """Name of the network that the weights belong to."""
    schema_version: int = SCHEMA_VERSION
    sample_rate_hz: int = SAMPLE_RATE_HZ
    spectrum: SpectrumSpec = SpectrumSpec()
    window: WindowSpec = WindowSpec()
    gate: GateSpec = GateSpec()
    smoothing: SmoothingSpec = SmoothingSpec()
    calibration: Calibration = Calibration()
    corpora: tuple[Corpus, ...] = ()
    metrics: tuple[Metric, ...] = ()
    limits: str = ""
    """Known weaknesses, in words."""
    golden: GoldenTest | None = None
    """None only before the export, which makes it."""
    prior: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Everyday odds of labels, relative to even ones; 1 where one is left out."""
    ordinary_odds: float = 0.0
    """Everyday odds of ordinary talk, by the output "ordinary"; 0: the network has none."""
    encoder: Encoder | None = None

    def __post_init__(self) -> None:
        _require("schema_version", self.schema_version, 1, SCHEMA_VERSION)
        if self.sample_rate_hz != SAMPLE_RATE_HZ:
            raise SerError(f"card.sample_rate_hz is {self.sample_rate_hz}, wanted {SAMPLE_RATE_HZ}")
        _require_name("name", self.name)
        for number, label in enumerate(self.labels):
            _require_name(f"labels[{number}]", label)
        if not 2 <= len(set(self.labels)) == len(self.labels) <= MOST_LABELS:
            raise SerError(
                f"card.labels are {len(self.labels)} names, {quoted(list(self.labels))}, wanted "
                f"2 to {MOST_LABELS} different ones"
            )
        golden = self.golden
        if golden is not None and len(golden.probabilities) != len(self.labels):
            raise SerError(
                f"card.golden.probabilities has {len(golden.probabilities)} numbers for "
                f"{len(self.labels)} labels"
            )
        require_odds("card.prior", self.prior, self.labels)
        _require("ordinary_odds", self.ordinary_odds, 0.0, MOST_ODDS)
        if self.ordinary_odds and NEUTRAL not in self.labels:
            raise SerError(
                f"card.ordinary_odds is {self.ordinary_odds:g}, which wants the label {NEUTRAL!r}"
            )
        if golden is not None and (golden.ordinary is None) != (self.ordinary_odds == 0.0):
            raise SerError(
                f"card.golden.ordinary is {golden.ordinary}, but card.ordinary_odds is "
                f"{self.ordinary_odds:g}; export the model again"
            )

    def to_json(self) -> str:
        """Return the card as one JSON object."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, where: str = "model card") -> "ModelCard":
        """Read a card and check each field.

        Parameters
        ----------
        text : str
            One JSON object as `to_json` makes it.
        where : str
            Name of the file, for messages.

        Raises
        ------
        SerError
            If it is no JSON, or a field is missing, unknown, of the wrong type or out of range;
            the message names the field, what it held and what was wanted.
        """
        try:
            if len(text) > LONGEST_CARD:
                raise SerError(f"card has {len(text)} characters, wanted at most {LONGEST_CARD}")
            card = record_from_json(cls, text, "card", _refuse_newer)
            return dataclasses.replace(card, schema_version=SCHEMA_VERSION)
        except SerError as error:
            raise SerError(f"{where}: {error}") from error


def _refuse_newer(data: object) -> None:
    """Say so of a card of the future, before anything that it holds is taken for a mistake."""
    version = data.get("schema_version") if isinstance(data, dict) else None
    if type(version) is int and version > SCHEMA_VERSION:
        raise SerError(
            f"card.schema_version is {quoted(version)}, made for a newer ser-live; this one reads "
            f"1 to {SCHEMA_VERSION}: upgrade it (pip install -U ser-live)"
        )
