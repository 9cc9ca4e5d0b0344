"""Prior: what is likely to be heard, joined with what a network says under even odds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_live.model.card import NEUTRAL, ModelCard, require_odds
from ser_live.text import quoted

ORDINARY_NAME = "ordinary"
"""Name of a network's second output, and of its odds in a prior that a caller gives."""

_TINY = np.finfo(np.float32).tiny

NamedPrior = Literal["everyday", "even"]
"""The card's odds, or none."""

PriorChoice = NamedPrior | Mapping[str, float] | None
"""None: the card's; or the odds of labels, 1 where one is left out."""

PriorName = Literal["everyday", "even", "own"]
"""Name of the odds in force: the card's, none, or others that a caller gave."""


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """Outputs of a network under even odds, of one window or of a batch."""

    probabilities: NDArray[np.float32]
    """Shape (..., labels); each sums to 1."""
    ordinary: NDArray[np.float32] | None = None
    """Shape (..., 1): probability of ordinary talk against acted emotion; None: no such output."""


@dataclass(frozen=True, slots=True)
class Prior:
    """Odds relative to even ones; without any, everything stays as the network says."""

    odds: Mapping[str, float] = field(default_factory=dict)
    """Of labels; 1 where one is left out."""
    ordinary_odds: float = 0.0
    """Of ordinary talk against acted emotion; 0: that output is not joined."""

    def by_name(self) -> dict[str, float]:
        """Return the odds of labels, and of "ordinary" talk if it counts; empty: even."""
        ordinary = {ORDINARY_NAME: self.ordinary_odds} if self.ordinary_odds else {}
        return {**self.odds, **ordinary}


def prior_of(choice: PriorChoice, card: ModelCard) -> Prior:
    """Return the prior that a caller has chosen for a model.

    Raises
    ------
    SerError
        If it is no choice, names labels that the model lacks, or odds out of range.
    """
    if choice is None or (isinstance(choice, str) and choice == "everyday"):
        return Prior(card.prior, card.ordinary_odds)
    if isinstance(choice, str) and choice == "even":
        return Prior()
    if not isinstance(choice, Mapping):
        raise SerError(f"prior is {quoted(choice)}, wanted 'everyday', 'even' or {{label: odds}}")
    odds = dict(choice)
    ordinary_odds = odds.pop(ORDINARY_NAME, 0.0) if card.ordinary_odds else 0.0
    names = (*card.labels, ORDINARY_NAME) if card.ordinary_odds else card.labels
    require_odds("prior", odds, names)
    require_odds("prior", {ORDINARY_NAME: ordinary_odds}, (ORDINARY_NAME,), lowest=0.0)
    return Prior(odds, ordinary_odds)


def prior_name(choice: PriorChoice, card: ModelCard) -> PriorName:
    """Return what the prior is called that a choice gives for a model."""
    prior = prior_of(choice, card)
    if prior == Prior():
        return "even"
    return "everyday" if prior == prior_of(None, card) else "own"


def join_prior(outputs: Outputs, labels: tuple[str, ...], prior: Prior) -> NDArray[np.float32]:
    """Return probabilities under a prior, shape (..., labels); a row's bits are its own.

    Odds of labels multiply theirs (Saerens et al. 2002, eq. 4). Then ordinary talk, with the
    probability that its own odds give it, is neutral::

        w = odds * ordinary / (odds * ordinary + 1 - ordinary)
        (1 - w) * probabilities + w * neutral
    """
    joined = outputs.probabilities
    if any(odds != 1.0 for odds in prior.odds.values()):
        joined = joined * np.array([prior.odds.get(label, 1.0) for label in labels], np.float32)
        joined /= joined.sum(axis=-1, keepdims=True)
    if outputs.ordinary is not None and prior.ordinary_odds:
        # Odds that vanish in float32 would leave 0 / 0 where a network is quite sure.
        likely = max(np.float32(prior.ordinary_odds), _TINY) * outputs.ordinary
        share = likely / (likely + (1 - outputs.ordinary))
        joined = (1 - share) * joined
        joined[..., labels.index(NEUTRAL)] += share[..., 0]
    return joined
