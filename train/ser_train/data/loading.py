"""Loading of recordings, one by one; broken, repeated and silent ones are told."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ser_live.engine.speech_gate import SpeechGate
from ser_live.errors import SerError
from ser_live.model.card import SAMPLE_RATE_HZ, GateSpec
from ser_train.corpora import Clip
from ser_train.progress import Reporter

THREADS = 2


@dataclass(frozen=True, slots=True)
class Loaded:
    """One recording, loaded."""

    clip: Clip
    content: str
    """Hash of the decoded samples."""
    has_speech: bool
    """The live engine's gate opens in it; otherwise training would teach noise a label."""


_Item = TypeVar("_Item", bound=Loaded)


def has_speech(samples: NDArray[np.float32]) -> bool:
    """Tell whether the speech gate opens in a recording of shape (n,) at 16 kHz."""
    gate = SpeechGate(GateSpec())
    for start in range(0, samples.size, SAMPLE_RATE_HZ):  # most open it in their first second
        gate.process(samples[start : start + SAMPLE_RATE_HZ])
        if any(step.is_speech for step in gate.decide()):
            return True
    return False


def load_each(
    clips: Sequence[Clip], load: Callable[[Clip], _Item], what: str, report: Reporter, skip: bool
) -> tuple[_Item, ...]:
    """Load clips on several threads, in order; of equal recordings the first one stays.

    Parameters
    ----------
    clips : sequence of Clip
    load : callable
    what : str
        Name of what is loaded, for the progress bar.
    report : Reporter
        Told of broken and repeated recordings and, once, of all that have no speech.
    skip : bool
        Leave broken recordings and those without speech out; False: a broken one raises.

    Raises
    ------
    SerError
        If a recording is broken and not to be left out, or if none is left.
    """
    loaded = []
    with report.counting(what, len(clips)) as advance, ThreadPoolExecutor(THREADS) as pool:
        futures = [pool.submit(load, clip) for clip in clips]
        try:
            for future in futures:
                try:
                    loaded.append(future.result())
                except SerError as error:
                    if not skip:
                        raise SerError(f"{error}; --skip-broken leaves such files out") from error
                    report.warn(str(error))
                advance()
        finally:
            pool.shutdown(cancel_futures=True)
    silent = [item.clip.path.name for item in loaded if not item.has_speech]
    if silent:
        shown, done = ", ".join(silent[:3]), "they are" if skip else "with --skip-broken they are"
        count = f"{len(silent)} of {len(loaded)} recordings"
        report.warn(f"no speech is heard in {count}, such as {shown}; {done} left out")
    kept = _first_of_each([item for item in loaded if item.has_speech or not skip], report)
    if not kept:
        raise SerError("no recording is left without the broken ones and those without speech")
    return kept


def _first_of_each(items: Sequence[_Item], report: Reporter) -> tuple[_Item, ...]:
    first: dict[str, _Item] = {}
    for item in items:
        if (other := first.setdefault(item.content, item)) is not item:
            name, other_name = item.clip.path.name, other.clip.path.name
            report.note(f"{name} is the same recording as {other_name}: left out")
    return tuple(first.values())
