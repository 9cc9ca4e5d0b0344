"""Model cards: JSON that is nearly a card."""

import json
from dataclasses import asdict
from random import Random
from typing import Any

from fuzz import attempt
from ser_live import ModelCard
from ser_live.model.card import Corpus, Encoder, GoldenTest, Metric
from ser_live.testing import tiny_card
from ser_live.text import find_control_char

NUMBERS = (
    0, -1, 1, 2**31, 2**53, 2**63, 10**400, 0.5, -0.0, 1e308, float("inf"), float("nan")
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    *NUMBERS, None, True, "", "a", "\x1b[2J", "\ud800", "\u202e", "x" * 5000,
    [], {}, [[]], [None], {"a": 1},
)  # fmt: skip


def check(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    card = attempt(ModelCard.from_json, text, "card.json", begins="card.json: card")
    if card is None:
        return
    assert ModelCard.from_json(card.to_json()) == card
    json.dumps(asdict(card), allow_nan=False)
    assert not any(find_control_char(text) for text in (card.name, card.limits, *card.labels))


def seeds() -> list[bytes]:
    card = tiny_card(
        corpora=(Corpus("A", 10, 2, "CC-BY-4.0"),),
        metrics=(Metric("UAR", 0.6, "leave one speaker out", True, 10, 0.02, "speakers"),),
        golden=GoldenTest("AAAA", 3, (0.1, 0.2, 0.3, 0.4), ordinary=0.5),
        prior={"neutral": 8.0, "sad": 0.5},
        ordinary_odds=2.0,
        encoder=Encoder("whisper-tiny.en", 32 * "a9", "MIT"),
    )
    return [card.to_json().encode(), b'{"name": "m", "labels": ["a", "b"], "licence": "MIT"}']


def mutate(data: bytes, random: Random) -> bytes:
    """Change one value or name somewhere in the tree; raise ValueError if it is no JSON."""
    tree = json.loads(data.decode("utf-8", "surrogateescape"))
    places = list(_places(tree)) if isinstance(tree, dict | list) else []
    if not places:
        raise ValueError("nothing to change")
    inside, key = random.choice(places)
    what = random.random()
    if what < 0.3 and isinstance(inside[key], int | float):
        inside[key] = random.choice(NUMBERS)
    elif what < 0.6:
        inside[key] = random.choice(VALUES)
    elif what < 0.7:
        other, name = random.choice(places)
        inside[key] = other[name] if not isinstance(other[name], list | dict) else [1]
    elif isinstance(inside, list):
        inside.extend(inside[:3] * random.choice((1, 50)))
    elif what < 0.8:
        inside[str(random.choice(VALUES))] = inside.pop(key)
    elif what < 0.9:
        del inside[key]
    text = json.dumps(tree, ensure_ascii=random.random() < 0.5)
    if random.random() < 0.1:
        text = text.replace('{"', '{"name": 1, "name": 2, "', 1)
    return text.encode("utf-8", "surrogatepass")


def _places(tree: Any) -> Any:
    """Return every container with every key or index of it."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in inner:
        yield tree, key
        if isinstance(value, dict | list):
            yield from _places(value)
