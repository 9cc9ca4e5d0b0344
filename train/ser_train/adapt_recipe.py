"""How long and how strongly a model is adapted, by the number of clips that there are."""

import dataclasses
import math

from ser_train.recipe import Recipe

_EPOCHS = 10
"""Of each stage: what knows many speakers must not be forgotten for a few."""
_HEAD_SHARE_OF_RATE = 0.25
"""Of the network's highest rate."""
_FEWEST_BATCHES = 4
"""Smaller batches where there are few clips, so that an epoch has so many steps."""
_SMALLEST_BATCH = 4


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
        Of both stages together; None: ten each.
    batch_clips : int or None
        None: the network's, or less where there are few clips.

    Returns
    -------
    tuple of Recipe
        The second has no epochs where the user wants one in all.
    """
    batch = batch_clips or min(recipe.batch_clips, max(_SMALLEST_BATCH, clips // _FEWEST_BATCHES))
    head = _EPOCHS if epochs is None else max(1, epochs // 2)
    rest = _EPOCHS if epochs is None else epochs - head
    rates = (_HEAD_SHARE_OF_RATE, _share_of_rate(clips))
    stages = [
        dataclasses.replace(
            recipe, batch_clips=batch, epochs=count, learning_rate=recipe.learning_rate * share
        )
        for count, share in zip((head, rest), rates, strict=True)
    ]
    return stages[0], stages[1]


def _share_of_rate(clips: int) -> float:
    """From a fortieth of the network's highest rate up to 150 clips to a tenth with 1000."""
    place = (math.log(max(1, clips)) - math.log(150)) / (math.log(1000) - math.log(150))
    share: float = 0.025 * 4.0 ** min(1.0, max(0.0, place))
    return share
