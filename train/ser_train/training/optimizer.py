"""Steps of gradient descent, and the whole state of a training as arrays."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ser_live.errors import SerError
from ser_train.data.batches import Batch
from ser_train.models.recipe import Recipe

_CLIP_NORM = 2.0
_FINAL_RATE = 0.01


class Optimizer:
    """Fit a model's logits with the recipe's optimiser and schedule.

    Parameters
    ----------
    model : keras.Model
        From inputs to logits.
    recipe : Recipe
    steps : int
        Steps of the whole training, for the schedule.
    """

    def __init__(self, model: Any, recipe: Recipe, steps: int) -> None:
        self._model = model
        self._momentum = recipe.ema_momentum
        self._schedule = _schedule(recipe, steps)
        self._optimiser = _optimiser(recipe, self._schedule)
        self._optimiser.build(model.trainable_variables)
        self._averages = [
            keras.Variable(v.value, trainable=False) for v in model.trainable_variables
        ]
        inputs = tf.TensorSpec(model.input_shape, tf.float32)
        labels = tf.TensorSpec(model.output_shape, tf.float32)
        self._step = tf.function(self._run_step, input_signature=[inputs, labels, labels])
        self._forward = tf.function(
            lambda batch: self._model(batch, training=True), input_signature=[inputs]
        )

    def rate(self, steps_of_epoch: int, epochs: int) -> float:
        """Return the learning rate after so many epochs."""
        return float(self._schedule(steps_of_epoch * epochs))

    def epoch(self, batches: Iterable[Batch], advance: Callable[[], None]) -> float:
        """Take a step for every batch and return the mean loss.

        Raises
        ------
        SerError
            If a loss is not finite: no later step would mend the weights.
        """
        losses = []
        for batch in batches:
            losses.append(float(self._step(batch.inputs, batch.targets, batch.offsets)))
            if not np.isfinite(losses[-1]):
                raise SerError(
                    f"the loss is {losses[-1]} after {len(losses)} steps of this epoch, wanted a "
                    "finite number: the training diverged; try larger batches (-B) or look for a "
                    "broken recording"
                )
            advance()
        return float(np.mean(losses))

    def finalize_weights(self, batches: Iterable[Batch]) -> None:
        """Take the averaged weights for good and measure the normalisation layers' statistics.

        The moving statistics lag behind the weights; they become the plain mean over the batches.
        """
        _assign(self._model.trainable_variables, self._averages)
        with _measured_statistics(self._model) as kept_share:
            for number, batch in enumerate(batches):
                kept_share.assign(number / (number + 1.0))
                self._forward(batch.inputs)

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Put the averaged weights into the model for the length of a block."""
        variables = self._model.trainable_variables
        present = [variable.value.numpy().copy() for variable in variables]
        _assign(variables, self._averages)
        try:
            yield
        finally:
            _assign(variables, present)

    def state(self) -> tuple[NDArray[Any], ...]:
        """Return everything that the next step depends on."""
        return tuple(variable.value.numpy().copy() for variable in self._variables())

    def restore(self, state: tuple[NDArray[Any], ...]) -> None:
        """Go back to what `state` returned.

        Raises
        ------
        SerError
            If it is of a network that is built in another way.
        """
        variables = self._variables()
        if [tuple(v.shape) for v in variables] != [array.shape for array in state]:
            raise SerError(
                "the checkpoint is of a network of this name that is built in another way; give "
                "another folder with --run-dir"
            )
        _assign(variables, state)

    def _variables(self) -> list[Any]:
        return [*self._model.variables, *self._optimiser.variables, *self._averages]

    def _run_step(self, inputs: Any, targets: Any, offsets: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = self._model(inputs, training=True) + offsets
            losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
            loss = tf.reduce_mean(losses)
        variables = self._model.trainable_variables
        self._optimiser.apply(tape.gradient(loss, variables), variables)
        # Averages follow quickly at first, so that the start is soon forgotten; with a momentum of
        # 0 they are the weights.
        step = tf.cast(self._optimiser.iterations.value, tf.float32)
        momentum = tf.minimum(self._momentum, (1.0 + step) / (10.0 + step))
        for average, variable in zip(self._averages, variables, strict=True):
            average.assign(momentum * average.value + (1.0 - momentum) * variable.value)
        return loss


@contextmanager
def precision(model: Any, recipe: Recipe) -> Iterator[None]:
    """Compute products and convolutions in bfloat16 for the length of a block, if so wanted.

    It has the range of float32, so that no loss need be scaled. Weights, normalisation, front end
    and logits stay in float32, and so does all that is saved.
    """
    kinds = (keras.layers.Dense, keras.layers.Conv1D, keras.layers.Conv2D)
    every = model._flatten_layers() if recipe.mixed_precision else ()
    layers = [one for one in every if isinstance(one, kinds) and one.name != "logits"]
    kept = [layer.dtype_policy for layer in layers]
    for layer in layers:
        layer.dtype_policy = "mixed_bfloat16"
    try:
        yield
    finally:
        for layer, policy in zip(layers, kept, strict=True):
            layer.dtype_policy = policy


def _assign(variables: Iterable[Any], values: Iterable[Any]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


@contextmanager
def _measured_statistics(model: Any) -> Iterator[Any]:
    """Yield a variable that rules how much of its statistics each normalisation layer keeps."""
    every = model._flatten_layers()  # also those inside layers
    layers = [layer for layer in every if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in layers]
    kept_share = tf.Variable(0.0)
    for layer in layers:
        layer.momentum = kept_share
    try:
        yield kept_share
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


def _schedule(recipe: Recipe, steps: int) -> Any:
    warm_up = int(recipe.warm_up_share * steps)
    return keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate / 20.0,
        max(1, steps - warm_up),
        alpha=_FINAL_RATE,
        warmup_target=recipe.learning_rate,
        warmup_steps=max(1, warm_up),
    )


def _optimiser(recipe: Recipe, schedule: Any) -> Any:
    if recipe.optimiser == "rmsprop":
        return keras.optimizers.RMSprop(schedule, weight_decay=recipe.weight_decay or None)
    optimiser = keras.optimizers.AdamW(
        schedule, weight_decay=recipe.weight_decay, global_clipnorm=_CLIP_NORM
    )
    optimiser.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimiser
