"""The networks that ``ser-train`` knows by name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ser_live.card import SpectrumSpec, WindowSpec
from ser_live.errors import SerError
from ser_train.recipe import Augmentation, Recipe, WindowSampling


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


def _build_emotion_tcn(n_labels: int, bins: int) -> Any:
    from ser_train.emotion_tcn import build_emotion_tcn  # noqa: PLC0415 - Keras takes seconds

    return build_emotion_tcn(n_labels, bins)


def _build_issa_ravdess(n_labels: int, bins: int) -> Any:
    from ser_train.published import build_issa_ravdess  # noqa: PLC0415 - Keras takes seconds

    return build_issa_ravdess(n_labels, bins)


NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        Network(
            name="emotion-tcn",
            spectrum=SpectrumSpec(),
            window=WindowSpec(),
            build=_build_emotion_tcn,
            recipe=Recipe(
                epochs=45,
                batch_clips=32,
                learning_rate=4e-3,
                weight_decay=0.02,
                ema_momentum=0.995,
                label_smoothing=0.1,
                windows=WindowSampling(),
                augmentation=Augmentation(),
            ),
        ),
        Network(
            name="issa-ravdess",
            spectrum=SpectrumSpec(fft_samples=2048, hop_samples=512),
            window=WindowSpec(),
            build=_build_issa_ravdess,
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
        ),
    )
}


def find_network(name: str) -> Network:
    """Give the network of that name.

    Raises
    ------
    SerError
        If there is none; the message lists the names.
    """
    if name not in NETWORKS:
        raise SerError(f"there is no network {name!r}; the networks are {', '.join(NETWORKS)}")
    return NETWORKS[name]


def create_model(name: str, n_labels: int) -> Any:
    """Build the network of that name with fresh weights.

    Parameters
    ----------
    name : str
        One of `NETWORKS`.
    n_labels : int
        Number of labels, at least 2.

    Returns
    -------
    keras.Model
        From "spectrum" (batch, frames, bins) power to "probabilities" (batch, n_labels).

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
        raise SerError(f"{error}; networks need: pip install 'ser-live[train]'") from error
