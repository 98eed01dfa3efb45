"""Teaches a student of fewer layers to answer as its teacher does.

Layer and embedding distillation: the student begins as every k-th layer of the teacher and learns its embeddings and
the hidden states of the layers it began as. Sources: X. Jiao et al., "TinyBERT", arXiv:1909.10351; V. Sanh et al.,
"DistilBERT", arXiv:1910.01108; AdamW: I. Loshchilov and F. Hutter, arXiv:1711.05101.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from engines.build.distill_data import Lot, packed, width_of
from engines.build.distill_recipe import Recipe
from engines.tensor import Array
from engines.torch_encoder import PackedEncoder

_WARM_UP = 0.05
_LARGEST_GRADIENT = 1.0
_ENCODE_BATCH = 128


def chosen_layers(teacher: int, student: int) -> tuple[int, ...]:
    """The teacher's layers that a student of `student` layers begins as: evenly spread, the last one among them."""
    return tuple((number + 1) * teacher // student - 1 for number in range(student))


def make_student(encoder: PackedEncoder, layers: Sequence[int]) -> PackedEncoder:
    """Leaves only these layers in `encoder`."""
    encoder.layers = nn.ModuleList(encoder.layers[layer] for layer in layers)
    return encoder


def taught(student: PackedEncoder) -> Mapping[str, Tensor]:
    """What training changes, by name: all but the tables of words and positions."""
    return {name: weight for name, weight in student.named_buffers() if name not in ("words", "positions")}


class Trainer:
    """Takes `steps` steps. `layers`: those of the teacher that the student's are matched with."""

    def __init__(
        self, teacher: PackedEncoder, student: PackedEncoder, layers: Sequence[int], recipe: Recipe, steps: int
    ) -> None:
        self.student = student
        self.weights = taught(student)
        for weight in self.weights.values():
            weight.requires_grad_(True)
        matrices = [weight for weight in self.weights.values() if weight.ndim > 1]
        vectors = [weight for weight in self.weights.values() if weight.ndim == 1]
        groups = [{"params": matrices, "weight_decay": recipe.decay}, {"params": vectors, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=recipe.rate, fused=True)
        self._teacher = teacher
        self._matched = frozenset(layer + 1 for layer in layers)
        self._recipe = recipe
        self._steps = steps

    def step(self, number: int, lot: Lot, targets: Tensor) -> float:
        """Step `number`, from 0, towards the embeddings `targets` FP32 [texts of the lot, hidden]; returns the loss."""
        inputs = _tensors(lot, self.student)
        with torch.autocast(targets.device.type, torch.bfloat16, enabled=self._recipe.precision == "bf16"):
            states = list(self.student.states(*inputs))
            loss = self._hidden_loss(inputs, states[1:]) if self._recipe.hidden else torch.zeros(())
        found = self.student.pooled(states[-1].float(), *inputs[1:])[lot.rows, lot.segments]
        loss = _distance(found, targets) + self._recipe.hidden * loss
        for group in self.optimiser.param_groups:
            group["lr"] = _rate(self._recipe.rate, (number + 1) / self._steps)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.weights.values(), _LARGEST_GRADIENT)
        self.optimiser.step()
        return float(loss.detach())

    def state(self) -> dict[str, Tensor]:
        """Weights and what the optimiser remembers of each, for `restore`."""
        kept = {f"weight/{name}": weight.detach() for name, weight in self.weights.items()}
        for name, weight in self.weights.items():
            for kind, value in self.optimiser.state[weight].items():
                kept[f"{kind}/{name}"] = value
        return kept

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Goes back to where `state` was taken."""
        for name, weight in self.weights.items():
            weight.data.copy_(state[f"weight/{name}"])
            self.optimiser.state[weight] = {
                # AdamW keeps its count of steps on the CPU.
                kind: state[f"{kind}/{name}"].to("cpu" if kind == "step" else weight.device)
                for kind in ("step", "exp_avg", "exp_avg_sq")
            }

    def _hidden_loss(self, inputs: Sequence[Tensor], states: Sequence[Tensor]) -> Tensor:
        """The mean over the student's layers."""
        real = inputs[2] >= 0
        with torch.no_grad():
            all_states = enumerate(self._teacher.states(*inputs))
            wanted = [state[real] for number, state in all_states if number in self._matched]
        losses = [_distance(state[real], want) for state, want in zip(states, wanted, strict=True)]
        return torch.stack(losses).mean()


def _distance(found: Tensor, wanted: Tensor) -> Tensor:
    """Squared distance as a share of the squared length of what is wanted."""
    return (found.float() - wanted.float()).square().sum() / wanted.float().square().sum()


def _rate(most: float, done: float) -> float:
    """Rises, then falls as a cosine."""
    if done < _WARM_UP:
        return most * done / _WARM_UP
    return most * 0.5 * (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP)))


def _tensors(lot: Lot, encoder: PackedEncoder) -> list[Tensor]:
    return [torch.from_numpy(array).to(encoder.words.device) for array in lot.arrays]


@torch.no_grad()
def embeddings(encoder: PackedEncoder, tokens: Sequence[Array]) -> Tensor:
    """FP32 [texts, hidden] of texts as token ids."""
    found = torch.empty((len(tokens), encoder.words.shape[1]), device=encoder.words.device)
    by_length = np.array(sorted(range(len(tokens)), key=lambda text: len(tokens[text])))
    for start in range(0, len(tokens), _ENCODE_BATCH):
        texts = by_length[start : start + _ENCODE_BATCH]
        lot = packed(tokens, texts, width_of([tokens[text] for text in texts]))
        found[lot.texts] = encoder.forward(*_tensors(lot, encoder))[lot.rows, lot.segments]
    return found
