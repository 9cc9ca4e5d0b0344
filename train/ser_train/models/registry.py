"""The networks that ``ser-train`` knows by name."""

import dataclasses
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_live.errors import SerError
from ser_live.model.card import Encoder, ModelCard, SpectrumSpec, WindowSpec
from ser_live.text import sanitize
from ser_train.models.recipe import (
    ORDINARY_HEAD,
    Augmentation,
    OrdinaryHead,
    Recipe,
    WaveformAugmentation,
    WindowSampling,
    with_settings,
)

MISSING_EXTRA = "the packages for training are not installed ({}): pip install 'ser-live[train]'"


@dataclass(frozen=True, slots=True)
class Network:
    """A network, what it is fed with and how it is trained."""

    name: str
    spectrum: SpectrumSpec
    window: WindowSpec
    build: Callable[[int, int], Any]
    """(labels, bins) to keras.Model with layers "spectrum", "logits", "temperature",
    "probabilities"."""
    recipe: Recipe
    front_end: str | None = None
    """Layer without trainable weights whose outputs are computed once per clip."""
    pooled: str = ""
    """Layer whose outputs, (batch, features), a second head may rest on; empty: there is none."""
    ordinary: OrdinaryHead = ORDINARY_HEAD
    """Training of that head, and its prior."""
    members: tuple[str, ...] = ()
    """Names of the networks of an ensemble, which hear the same; its own recipe trains each."""
    is_pretrained: bool = False
    """The front end gets its weights from a file (`with_encoder`) or from another model."""
    encoder: Encoder | None = None
    """Origin of these weights, once they are there."""
    chosen_on: str = ""
    """Recordings that the recipe was chosen on, in words: figures on them flatter."""
    code_sha256: str = ""
    """Of the module of a network that is not ours; empty: it is, or is known by a card alone."""

    def require_exportable(self, labels: Sequence[str]) -> None:
        """Try a network of the user's own before a training: hours must not end in no model.

        Raises
        ------
        SerError
            As `ser_train.models.own_network.require_exportable` does.
        """
        if ":" in self.name:
            from ser_train.models import own_network  # noqa: PLC0415 - tf2onnx

            own_network.require_exportable(self, len(labels))

    def with_length(self, epochs: int | None, batch_clips: int | None) -> "Network":
        """Return the network with other numbers of epochs and clips in a batch; None keeps one."""
        recipe = dataclasses.replace(
            self.recipe,
            epochs=epochs or self.recipe.epochs,
            batch_clips=batch_clips or self.recipe.batch_clips,
        )
        return dataclasses.replace(self, recipe=recipe)

    def with_settings(self, settings: Sequence[tuple[str, str]]) -> "Network":
        """Return the network with other values in its recipe, as `recipe.with_settings` reads.

        Raises
        ------
        SerError
            As that does, or if blocks of an encoder are to learn where there is none.
        """
        recipe = with_settings(self.recipe, settings)
        if recipe.upper != self.recipe.upper and not self.is_pretrained:
            raise SerError(f"the network {self.name} has no encoder: leave out recipe.upper")
        return dataclasses.replace(self, recipe=recipe)

    def with_encoder(self, path: Path | None) -> "Network":
        """Return the network with the weights of an encoder file in its front end.

        Raises
        ------
        SerError
            If it needs such a file and there is none, or the other way round, or as
            `ser_train.models.whisper_file.read_encoder` does.
        """
        if self.is_pretrained != (path is not None):
            needs = (
                "begins with a pretrained encoder: give its file with"
                if path is None
                else ("has no encoder to fill: leave out")
            )
            raise SerError(f"the network {self.name} {needs} --encoder")
        if path is None:
            return self
        from ser_train.models.whisper_file import read_encoder  # noqa: PLC0415 - an extra

        file = read_encoder(path)
        return dataclasses.replace(self._filled(file.fill), encoder=file.provenance)

    def with_front_end_of(self, model: Any) -> "Network":
        """Return the network with the front end's weights of a model that is trained."""
        if not self.is_pretrained:
            return self
        weights = model.get_layer(self.front_end).get_weights()
        return self._filled(lambda layer: layer.set_weights(weights))

    def _filled(self, fill: Callable[[Any], None]) -> "Network":
        def build(n_labels: int, bins: int) -> Any:
            model = self.build(n_labels, bins)
            fill(model.get_layer(self.front_end))
            return model

        return dataclasses.replace(self, build=build)


def _builder(module: str, function: str) -> Callable[[int, int], Any]:
    """Name a builder without importing it: Keras takes seconds."""

    def build(n_labels: int, bins: int) -> Any:
        return getattr(importlib.import_module(f"ser_train.models.{module}"), function)(
            n_labels, bins
        )

    return build


def _ensemble(members: tuple[Network, ...], name: str, recipe: Recipe) -> Network:
    """Make a network of networks that hear the same."""
    first = members[0]

    def build(n_labels: int, bins: int) -> Any:
        from ser_train.models.ensemble import combine  # noqa: PLC0415 - Keras takes seconds

        return combine([member.build(n_labels, bins) for member in members], first.front_end)

    return Network(
        name=name,
        spectrum=first.spectrum,
        window=first.window,
        build=build,
        recipe=recipe,
        front_end=first.front_end,
        members=tuple(member.name for member in members),
        chosen_on=first.chosen_on,
        code_sha256="+".join(filter(None, (member.code_sha256 for member in members))),
    )


_EMOTION_TCN = Network(
    name="emotion-tcn",
    spectrum=SpectrumSpec(fft_samples=1024),
    window=WindowSpec(),
    build=_builder("emotion_tcn", "build_emotion_tcn"),
    recipe=Recipe(
        epochs=60,
        batch_clips=32,
        learning_rate=4e-3,
        weight_decay=0.02,
        ema_momentum=0.995,
        label_smoothing=0.1,
        label_balance=1.0,
        balanced_corpora=True,
        windows=WindowSampling(),
        augmentation=Augmentation(
            room_probability=0.35,
            reverberation_seconds=(0.15, 0.9),
            reverberation_db=(-12.0, 4.0),
            babble_probability=0.25,
            channel_probability=0.3,
        ),
    ),
    pooled="pooling",
    # It parts talk from actors less well: at the odds of the larger network a quarter is emotion.
    ordinary=dataclasses.replace(ORDINARY_HEAD, ordinary_odds=0.4),
    chosen_on="RAVDESS actors 2, 5, 11, 18 and 23, whom folds 0 to 3 of ravdess-luna5 test, and "
    "EMO-DB speakers 08, 09, 11, 12, 14 and 16",
)
_EMOTION_WHISPER = Network(
    name="emotion-whisper",
    spectrum=SpectrumSpec(fft_samples=400),
    window=WindowSpec(),
    build=_builder("emotion_whisper", "build_emotion_whisper"),
    recipe=Recipe(
        epochs=36,
        batch_clips=64,
        learning_rate=1e-3,
        weight_decay=5.0,
        ema_momentum=0.99,
        label_smoothing=0.1,
        label_balance=1.0,
        balanced_corpora=True,
        windows=WindowSampling(),
        waveforms=WaveformAugmentation(),
    ),
    front_end="encoder",
    pooled="encoder",
    is_pretrained=True,
    chosen_on="all speakers of RAVDESS, EMO-DB and nEMO: decay, width and smoothing of the head, "
    "among ten trials, by the folds of ravdess-luna5 and by leaving out each corpus in turn",
)
ISSA_SPECTRUM = SpectrumSpec(fft_samples=2048, hop_samples=512)
"""librosa's default transform, which the published code uses."""
_ISSA_RAVDESS = Network(
    name="issa-ravdess",
    spectrum=ISSA_SPECTRUM,
    window=WindowSpec(),
    build=_builder("issa2020", "build_issa_ravdess"),
    recipe=Recipe(
        epochs=60,
        batch_clips=32,
        learning_rate=1e-3,
        weight_decay=0.02,
        ema_momentum=0.99,
        label_smoothing=0.1,
        mixup=0.4,
    ),
    front_end="frontend",
    chosen_on="the test clips of folds 0 to 2 of ravdess-random5 with seed 0, of every actor",
)
_ISSA_EMODB = dataclasses.replace(
    _ISSA_RAVDESS,
    name="issa-emodb",
    build=_builder("issa2020", "build_issa_emodb"),
    recipe=dataclasses.replace(
        _ISSA_RAVDESS.recipe,
        learning_rate=4e-3,
        mixup=0.1,
        windows=WindowSampling(speeds=(1.0, 0.95, 1.05, 0.9, 1.1), shortest_seconds=1.5),
    ),
    chosen_on="a fifth of the training clips of folds 0 to 2 of emodb-random5 with seed 0, of "
    "every speaker",
)
_ISSA_IEMOCAP = dataclasses.replace(
    _ISSA_EMODB, name="issa-iemocap", build=_builder("issa2020", "build_issa_iemocap")
)

NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        _EMOTION_TCN,
        _EMOTION_WHISPER,
        _ISSA_RAVDESS,
        _ISSA_EMODB,
        _ISSA_IEMOCAP,
        _ensemble((_EMOTION_TCN,) * 3, "emotion-tcn-3", _EMOTION_TCN.recipe),
        _ensemble(
            (_ISSA_EMODB, _ISSA_RAVDESS, _ISSA_IEMOCAP), "issa-emodb-ensemble", _ISSA_EMODB.recipe
        ),
    )
}


def find_network(name: str) -> Network:
    """Return the network of that name; names joined by "+" are an ensemble of these.

    "package.module:name" is imported, and known by that name from then on.

    Raises
    ------
    SerError
        If there is none, in which case the message lists the names, or if the members of an
        ensemble do not hear the same.
    """
    names = name.split("+")
    for part in {*names} - NETWORKS.keys():
        if ":" not in part:
            raise SerError(
                f"there is no network {sanitize(part)!r}; the networks are {', '.join(NETWORKS)}, "
                "or package.module:function of your own"
            )
        from ser_train.models.own_network import import_network  # noqa: PLC0415 - Keras

        NETWORKS[part] = import_network(part)
    if name in NETWORKS:
        return NETWORKS[name]
    members = tuple(NETWORKS[part] for part in names)
    if len({(member.spectrum, member.window, member.front_end) for member in members}) > 1:
        raise SerError(f"{name}: the members differ in spectrum, window or front end, wanted one")
    return _ensemble(members, name, members[0].recipe)


def network_of(card: ModelCard) -> Network:
    """Take what a saved network hears from its card, and all else from the network of that name.

    A file is data: what is not ours and was not imported before, is not imported for its name.

    Raises
    ------
    SerError
        If there is none.
    """
    names = card.network.split("+")
    if any(":" in name for name in {*names} - NETWORKS.keys()):
        members = tuple(names) if len(names) > 1 else ()
        network = dataclasses.replace(
            _EMOTION_TCN, name=card.network, members=members, pooled="", chosen_on=""
        )
    else:
        network = find_network(card.network)
    recipe = dataclasses.replace(network.recipe, upper=None)  # its encoder stays as it was trained
    return dataclasses.replace(network, spectrum=card.spectrum, window=card.window, recipe=recipe)


def create_model(name: str, n_labels: int) -> Any:
    """Make an untrained network of ours.

    Parameters
    ----------
    name : str
        One of `NETWORKS`, such as ``"issa-ravdess"``; names joined by "+" are an ensemble.
    n_labels : int
        Number of emotions, two or more.

    Returns
    -------
    keras.Model
        From "spectrum" (batch, frames, bins) power, float32, to "probabilities"
        (batch, n_labels).

    Raises
    ------
    SerError
        If the name is unknown, the labels are too few, or the extra ``train`` is not installed.
    """
    network = find_network(name)
    if n_labels < 2:
        raise SerError(f"a network needs at least 2 labels, got {n_labels}")
    try:
        return network.build(n_labels, network.spectrum.bins)
    except ModuleNotFoundError as error:
        raise SerError(MISSING_EXTRA.format(error)) from error
