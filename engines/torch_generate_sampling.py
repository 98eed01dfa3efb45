"""Choosing the next token of each row of a batch: each by its own settings and its own random numbers."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from engines.text_generator import ChosenToken, Sampling

GREEDY_BELOW = 1e-5
"""A temperature below this means the likeliest token: dividing by it would overflow."""
_SEEDS = 2**64
_HUGE = 1e30


class Warp(NamedTuple):
    """What shapes the distribution that is drawn from; rows of the same are shaped together."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float


class Chooser:
    """Chooses the tokens of one answer. `tokens`: the prompt's at first; the caller adds each token of the answer.

    Random numbers are numpy's whatever the device, one for each token, so that a seed means the same answer everywhere,
    up to the rounding of the logits. (torch's own generator looks at the low 32 bits of a seed only.)
    """

    def __init__(self, sampling: Sampling, tokens: list[int], device: torch.device | str) -> None:
        self.sampling = sampling
        self.tokens = tokens
        self._prompt = len(tokens)
        self._device = device
        self._random = np.random.default_rng(sampling.seed % _SEEDS)
        self._biased = torch.tensor(list(sampling.logit_bias), dtype=torch.long, device=device)
        self._bias = torch.tensor(list(sampling.logit_bias.values()), dtype=torch.float32, device=device)

    @property
    def warp(self) -> Warp | None:
        """None: the likeliest token is taken."""
        s = self.sampling
        return None if s.temperature < GREEDY_BELOW else Warp(s.temperature, s.top_k, s.top_p, s.min_p)

    @property
    def adjusts(self) -> bool:
        """Has it penalties or biases?"""
        s = self.sampling
        penalty = s.repetition_penalty != 1 or s.presence_penalty != 0 or s.frequency_penalty != 0
        return penalty or bool(s.logit_bias)

    def adjust(self, scores: Tensor) -> Tensor:
        """FP32 [1, vocabulary] with penalties and biases. The repetition penalty is for the prompt's tokens, too, the
        others are for the answer's alone."""
        s = self.sampling
        if s.repetition_penalty != 1:
            every = torch.tensor([self.tokens], device=self._device)
            scores = RepetitionPenaltyLogitsProcessor(s.repetition_penalty)(every, scores)
        else:
            scores = scores.clone()
        answer = self.tokens[self._prompt :]
        if answer and (s.presence_penalty != 0 or s.frequency_penalty != 0):
            used, counts = torch.tensor(answer, device=self._device).unique(return_counts=True)  # type: ignore[no-untyped-call]
            scores[0, used] -= s.presence_penalty + s.frequency_penalty * counts
        scores[0, self._biased] += self._bias
        return scores

    def draw(self) -> float:
        """A random number from 0 up to 1."""
        return self._random.random()


def choose(logits: Tensor, choosers: Sequence[Chooser]) -> list[ChosenToken]:
    """One token for each row of `logits`, [rows, vocabulary].

    Logprobs are those of the model itself: of its logits as they are, before penalties, biases and temperature. A logit
    that is no number counts as impossible, so that a row whose numbers overflow harms no other.
    """
    raw = torch.nan_to_num(logits.float(), nan=-_HUGE, posinf=_HUGE, neginf=-_HUGE)
    scores = _adjusted(raw, choosers)
    ids = scores.argmax(-1)
    for warp, rows in _groups(choosers).items():
        ids[rows] = _drawn(scores[rows], warp, [choosers[row].draw() for row in rows])
    return [
        _chosen(row, token, chooser.sampling) for row, token, chooser in zip(raw, ids.tolist(), choosers, strict=True)
    ]


def _adjusted(raw: Tensor, choosers: Sequence[Chooser]) -> Tensor:
    if not any(chooser.adjusts for chooser in choosers):
        return raw
    rows = [raw[row : row + 1] for row in range(len(raw))]
    return torch.cat([c.adjust(row) if c.adjusts else row for row, c in zip(rows, choosers, strict=True)])


def _groups(choosers: Sequence[Chooser]) -> dict[Warp, list[int]]:
    groups: dict[Warp, list[int]] = {}
    for row, chooser in enumerate(choosers):
        if chooser.warp is not None:
            groups.setdefault(chooser.warp, []).append(row)
    return groups


def _drawn(scores: Tensor, warp: Warp, draws: Sequence[float]) -> Tensor:
    """INT64 [rows]: for each draw, the token that it falls on where the tokens lie side by side by probability."""
    no_ids = torch.empty(0, dtype=torch.long)  # that interface asks for the tokens so far; these do not look at them
    for shape in _warpers(warp):
        scores = shape(no_ids, scores)
    ends = scores.softmax(-1).double().cumsum(-1)
    points = torch.tensor(draws, dtype=torch.float64, device=scores.device)[:, None] * ends[:, -1:]
    return torch.searchsorted(ends, points, right=True)[:, 0]


def _warpers(warp: Warp) -> list[LogitsProcessor]:
    """In the order in which transformers itself applies them."""
    warpers: list[LogitsProcessor] = []
    if warp.temperature != 1:
        warpers.append(TemperatureLogitsWarper(float(warp.temperature)))
    if warp.top_k > 0:
        warpers.append(TopKLogitsWarper(warp.top_k))
    if warp.top_p < 1:
        warpers.append(TopPLogitsWarper(float(warp.top_p)))
    if warp.min_p > 0:
        warpers.append(MinPLogitsWarper(float(warp.min_p)))
    return warpers


def _chosen(raw: Tensor, token: int, sampling: Sampling) -> ChosenToken:
    if sampling.logprobs is None:
        return ChosenToken(token)
    logprobs = raw.log_softmax(-1)
    likeliest = logprobs.topk(min(sampling.logprobs, len(logprobs)))
    top = tuple(zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True))
    return ChosenToken(token, float(logprobs[token]), top)
