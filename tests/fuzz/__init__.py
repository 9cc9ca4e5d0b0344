"""Inputs that were not meant: targets of the fuzzing, and the inputs that once went wrong.

A target is a module with ``seeds()``, valid inputs, and ``check(data)``, which raises anything
else than SerError only where the product is wrong. Where bytes that change at random would not get
past the first check, it has ``mutate(data, random)``, too, a change that keeps enough of the
structure. ``run.py`` runs them, ``findings/`` holds what it found, and
``tests/engine/test_fuzz_findings.py`` replays that.
"""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from ser_live import SerError
from ser_live.text import find_control_char

TARGETS = ("cards", "models", "archives", "audio", "raw", "manifests")

LONGEST_MESSAGE = 600

Result = TypeVar("Result")


def attempt(work: Callable[..., Result], *arguments: Any, begins: str = "") -> Result | None:
    """Return what some work gives, or None after a refusal in one decent line."""
    try:
        return work(*arguments)
    except SerError as error:
        check_message(error, begins)
        return None


def check_message(error: SerError, begins: str = "") -> None:
    """Check that a refusal is one line that a terminal can show."""
    message = str(error)
    assert message.startswith(begins)
    assert len(message) > len(begins), "an empty message"
    assert not find_control_char(message), "control characters in a message"
    assert len(message) <= LONGEST_MESSAGE, "a long message"


@functools.cache
def _folder() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="ser-live-fuzz-")


def scratch(name: str) -> Path:
    """Return a path in a folder that is gone when the process ends."""
    return Path(_folder().name, name)
