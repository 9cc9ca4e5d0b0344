"""How long and how strongly a model is adapted, by the number of clips that there are."""

import dataclasses
import math

from ser_train.models.recipe import Recipe

_FEW_CLIPS = 100
"""With fewer, a model that knows many speakers soon forgets them: it is only nudged."""
_NUDGE_EPOCHS = 10
_NUDGE_SHARES = (0.25, 0.025)
"""Of the network's highest rate: for the head, for all layers."""
_STEPS = (150, 300)
"""Of the head, of all layers, where there are more clips."""
_MOST_EPOCHS = 40
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
        Of both stages together; None: by the number of clips.
    batch_clips : int or None
        None: the network's, or less where there are few clips.

    Returns
    -------
    tuple of Recipe
        The second has no epochs where the user wants one in all.
    """
    batch = batch_clips or min(recipe.batch_clips, max(_SMALLEST_BATCH, clips // _FEWEST_BATCHES))
    steps_of_epoch = -(-clips // batch)
    counts, shares = (_NUDGE_EPOCHS, _NUDGE_EPOCHS), _NUDGE_SHARES
    if clips >= _FEW_CLIPS:
        counts = (_epochs(_STEPS[0], steps_of_epoch), _epochs(_STEPS[1], steps_of_epoch))
        shares = (1.0, _share_of_rate(clips))
    if epochs is not None:
        head = max(1, epochs // 2)
        counts = (head, epochs - head)
    stages = [
        dataclasses.replace(
            recipe, batch_clips=batch, epochs=count, learning_rate=recipe.learning_rate * share
        )
        for count, share in zip(counts, shares, strict=True)
    ]
    return stages[0], stages[1]


def _epochs(steps: int, steps_of_epoch: int) -> int:
    return min(_MOST_EPOCHS, max(2, math.ceil(steps / steps_of_epoch)))


def _share_of_rate(clips: int) -> float:
    """Give 0.17 with 100 clips, growing to three tenths with 500."""
    place = (math.log(clips) - math.log(20)) / (math.log(500) - math.log(20))
    share: float = 0.1 * 3.0 ** min(1.0, place)
    return share
