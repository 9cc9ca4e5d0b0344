"""How long and how strongly a model is adapted, by the number of clips that there are."""

import dataclasses
import math

from ser_train.recipe import Recipe

_HEAD_STEPS = 150
_ALL_STEPS = 300
_MOST_EPOCHS = 40
_FEWEST_BATCHES = 4
"""Smaller batches where there are few clips, so that an epoch has so many steps."""
_SMALLEST_BATCH = 4
_HEAD_SHARE = 1 / 3
"""Of the epochs that the user names."""


def stages_for(
    recipe: Recipe, clips: int, epochs: int | None, batch_clips: int | None
) -> tuple[Recipe, Recipe]:
    """Choose the two trainings: of the head alone, then of all layers.

    Parameters
    ----------
    recipe : Recipe
        The network's own.
    clips : int
        Clips to train on.
    epochs : int or None
        Of both stages together; None: by the number of clips.
    batch_clips : int or None
        None: the network's, or less where there are few clips.

    Returns
    -------
    tuple of Recipe
        The second has no epochs where the user wants one in all.
    """
    batch = batch_clips or min(recipe.batch_clips, max(_SMALLEST_BATCH, clips // _FEWEST_BATCHES))
    steps = -(-clips // batch)
    head = _epochs(_HEAD_STEPS, steps) if epochs is None else max(1, round(epochs * _HEAD_SHARE))
    rest = _epochs(_ALL_STEPS, steps) if epochs is None else epochs - head
    common = dataclasses.replace(recipe, batch_clips=batch)
    rate = recipe.learning_rate * _share_of_rate(clips)
    return (
        dataclasses.replace(common, epochs=head),
        dataclasses.replace(common, epochs=rest, learning_rate=rate),
    )


def _epochs(steps: int, steps_of_epoch: int) -> int:
    return min(_MOST_EPOCHS, max(2, math.ceil(steps / steps_of_epoch)))


def _share_of_rate(clips: int) -> float:
    """From a tenth of the network's highest rate with 20 clips to three tenths with 500."""
    place = (math.log(max(1, clips)) - math.log(20)) / (math.log(500) - math.log(20))
    share: float = 0.1 * 3.0 ** min(1.0, max(0.0, place))
    return share
