"""The models that are served: names that clients may say, and files behind them."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from ser_live.errors import SerError
from ser_live.model.card import ModelCard
from ser_live.model.catalog import DEFAULT_MODEL, LIGHT_MODEL, find_model, model_files
from ser_live.model.classifier import OnnxClassifier, read_card
from ser_live.text import quoted

# Above four fifths of busy time streams are refused (see `overload`); a hop is a quarter second.
_LOADED_SECONDS = 0.8 * 0.25
_GATE_SECONDS = 0.001
"""Of a hop beside its window, for the gate and the rest; measured, and little of it."""


class Models:
    """Models by name, each loaded once, when a client first asks for it.

    A client says a name and never a path. The shipped models are there, and those that the server
    was started with.

    Parameters
    ----------
    given : sequence of str
        Names of shipped models, or paths; the first is the default.

    Raises
    ------
    SerError
        If one does not exist or has no valid card, or two have the same name.
    """

    def __init__(self, given: Sequence[str] = ()) -> None:
        self._files = {file.stem: file for file in model_files()}
        named = [find_model(model) for model in given]
        for file in named:
            # The same file given twice, or a shipped one given by its path, is no conflict.
            if self._files.setdefault(file.stem, file).resolve() != file.resolve():
                raise SerError(
                    f"--model {file}: {quoted(file.stem)} is the name of another model; rename it"
                )
        self.default = named[0].stem if named else DEFAULT_MODEL
        self._loaded: dict[str, OnnxClassifier] = {}
        self._loading: dict[str, asyncio.Lock] = {}
        # The default is loaded at the start anyway.
        self._cards = {file.stem: read_card(file) for file in named[1:]}

    @property
    def names(self) -> tuple[str, ...]:
        """Names that clients may ask for, the default first."""
        return (self.default, *(name for name in self._files if name != self.default))

    def card(self, name: str) -> ModelCard:
        """Return the card of one of `names`; for that alone no network is loaded.

        Raises
        ------
        SerError
            If the file has no valid one.
        """
        if name in self._loaded:
            return self._loaded[name].card
        if name not in self._cards:
            self._cards[name] = read_card(self._files[name])
        return self._cards[name]

    def load_default(self) -> OnnxClassifier:
        """Load the default model now, with its self-test, or raise SerError."""
        return self._load(self.default)

    def make_default_carry(self, streams: int) -> str:
        """Let the light model be the default if the loaded one does not carry so many streams.

        Returns
        -------
        str
            What was chosen and why, in one line; empty: nothing changes.
        """
        usual, light = self.default, LIGHT_MODEL
        if light not in self._files or (carried := self._carried(usual)) >= streams:
            return ""
        self.default = light
        self.load_default()
        return (
            f"{streams} streams are asked for: {light} is the default model, which carries about "
            f"{self._carried(light)} on this machine if all speak at once, {usual} about "
            f"{carried}; choose with --model {usual}"
        )

    def _carried(self, name: str) -> int:
        """Return how many streams one thread can ask a loaded model for, with some time left."""
        hop_seconds = _LOADED_SECONDS / (self._loaded[name].measure_seconds() + _GATE_SECONDS)
        return max(1, int(hop_seconds))

    async def get(self, name: str | None) -> OnnxClassifier:
        """Return a model; the first time it is loaded in a thread of its own.

        Raises
        ------
        SerError
            If there is none of that name, or it cannot be loaded.
        """
        name = self.default if name is None else name
        if name in self._loaded:
            return self._loaded[name]
        if name not in self._files:
            names = ", ".join(self.names)
            raise SerError(f"there is no model {quoted(name)}; wanted one of: {names}")
        # Many clients may ask for it at once while it loads.
        async with self._loading.setdefault(name, asyncio.Lock()):
            if name not in self._loaded:
                await asyncio.to_thread(self._load, name)
        return self._loaded[name]

    def _load(self, name: str) -> OnnxClassifier:
        # A server may be started where no model is installed: then this says what is missing.
        file: Path = self._files[name] if name in self._files else find_model(name)
        classifier = OnnxClassifier.load(file)
        classifier.batch_is_bitwise  # noqa: B018 - measured now, not within a client's stream
        self._loaded[name] = classifier
        return classifier
