"""Trains a small classifier on embeddings, in numpy: one hidden layer, the same weights for the same seed.

AdamW (I. Loshchilov and F. Hutter, arXiv:1711.05101), dropout (N. Srivastava et al., JMLR 2014),
label smoothing (C. Szegedy et al., arXiv:1512.00567), noise on the embeddings so that the head also suits engines of
lower precision, a learning rate that rises for a tenth of the steps and then falls as a cosine, and the mean of a few
members that differ by chance only.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Classes = NDArray[np.intp]
Weights = tuple[Floats, Floats, Floats, Floats]
"""Weight [hidden, features], bias [hidden], weight [classes, hidden], bias [classes]."""

Progress = Callable[[int, int], None]
"""Called with the epochs done and the epochs in all."""

_DECAYS = (0.9, 0.999)
_SMALLEST = 1e-8
_WARM_UP = 0.1


@dataclass(frozen=True, slots=True)
class Recipe:
    """`hidden`: units of each member. `dropout`: share of them left out of a step. `noise`: length of what is added to
    an embedding of length 1."""

    members: int = 4
    hidden: int = 256
    epochs: int = 30
    batch: int = 128
    rate: float = 4e-3
    decay: float = 0.01
    dropout: float = 0.5
    noise: float = 0.2
    smoothing: float = 0.1
    seed: int = 0


def train_head(embeddings: Floats, classes: Classes, recipe: Recipe, progress: Progress) -> Weights:
    """Fits `classes` [n] (0 to the highest) to `embeddings` FP32 [n, features], each of length about 1."""
    random = np.random.default_rng(recipe.seed)
    epochs = count(1)

    def tick() -> None:
        progress(next(epochs), recipe.members * recipe.epochs)

    members = [_train(embeddings, classes, recipe, random, tick) for _ in range(recipe.members)]
    return _joined(members)


def _joined(members: Sequence[Weights]) -> Weights:
    """One head whose logits are the mean of its members' logits: their hidden units side by side."""
    first, first_bias, second, second_bias = zip(*members, strict=True)
    share = np.float32(1 / len(members))
    return (
        np.concatenate(first),
        np.concatenate(first_bias),
        np.concatenate(second, axis=1) * share,
        np.sum(second_bias, axis=0) * share,
    )


def _train(
    embeddings: Floats, classes: Classes, recipe: Recipe, random: np.random.Generator, tick: Callable[[], None]
) -> Weights:
    kinds = int(classes.max()) + 1
    trainer = _Trainer(recipe, random, embeddings.shape[1], kinds)
    targets = np.full((kinds, kinds), recipe.smoothing / kinds, np.float32)
    targets[np.diag_indices(kinds)] += 1 - recipe.smoothing
    steps = recipe.epochs * math.ceil(len(embeddings) / recipe.batch)
    step = 0
    for _ in range(recipe.epochs):
        order = random.permutation(len(embeddings))
        for start in range(0, len(order), recipe.batch):
            chosen = order[start : start + recipe.batch]
            step += 1
            trainer.step(embeddings[chosen], targets[classes[chosen]], step, _rate(recipe.rate, step / steps))
        tick()
    return trainer.weights


def _rate(most: float, done: float) -> float:
    if done < _WARM_UP:
        return most * done / _WARM_UP
    return most * 0.5 * (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP)))


class _Trainer:
    def __init__(self, recipe: Recipe, random: np.random.Generator, features: int, classes: int) -> None:
        self._recipe = recipe
        self._random = random
        # Embeddings have length 1, so their values are small: the first layer is the larger for it.
        self.weights: Weights = (
            random.normal(0, 3**-0.5, (recipe.hidden, features)).astype(np.float32),
            np.zeros(recipe.hidden, np.float32),
            random.normal(0, recipe.hidden**-0.5, (classes, recipe.hidden)).astype(np.float32),
            np.zeros(classes, np.float32),
        )
        self._means = [np.zeros_like(weight) for weight in self.weights]
        self._squares = [np.zeros_like(weight) for weight in self.weights]

    def step(self, inputs: Floats, targets: Floats, number: int, rate: float) -> None:
        """One step of AdamW on a batch. `targets` [n, classes]: the wanted probabilities."""
        for weight, gradient, mean, square in zip(
            self.weights, self._gradients(inputs, targets), self._means, self._squares, strict=True
        ):
            mean += (1 - _DECAYS[0]) * (gradient - mean)
            square += (1 - _DECAYS[1]) * (gradient * gradient - square)
            scale = np.sqrt(square / (1 - _DECAYS[1] ** number)) + _SMALLEST
            weight -= rate * (mean / (1 - _DECAYS[0] ** number) / scale + self._recipe.decay * weight)

    def _gradients(self, inputs: Floats, targets: Floats) -> Weights:
        """Of the mean cross entropy, by back-propagation."""
        first, first_bias, second, second_bias = self.weights
        kept = 1 - self._recipe.dropout
        noise = self._random.standard_normal(inputs.shape, np.float32)
        noisy = inputs + self._recipe.noise * inputs.shape[1] ** -0.5 * noise
        raised = noisy @ first.T + first_bias
        mask = ((self._random.random(raised.shape, np.float32) < kept) & (raised > 0)) / np.float32(kept)
        hidden = raised * mask
        error = (_softmax(hidden @ second.T + second_bias) - targets) / len(inputs)
        below = (error @ second) * mask
        return below.T @ noisy, below.sum(0), error.T @ hidden, error.sum(0)


def _softmax(values: Floats) -> Floats:
    """Along the last dimension."""
    raised: Floats = np.exp(values - values.max(axis=-1, keepdims=True))
    raised /= raised.sum(axis=-1, keepdims=True)
    return raised
