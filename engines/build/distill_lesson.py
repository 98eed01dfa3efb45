"""One student's lesson from its first step to its last, with checkpoints between."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from engines.build.distill_checkpoint import FILE, Checkpoint, load_checkpoint, save_checkpoint
from engines.build.distill_data import Lot, order_of, packed, variations, width_of
from engines.build.distill_recipe import Recipe
from engines.build.distill_training import Trainer, chosen_layers, embeddings, make_student
from engines.build.progress import Show
from engines.cores import available_cores, threads_per_instance
from engines.encoder_source import EncoderSource
from engines.tensor import Array
from engines.text import Tokenizer
from engines.torch_encoder import cuda_devices, load_encoder

_STEPS_BETWEEN_CHECKPOINTS = 50


@dataclass(frozen=True, slots=True)
class Taught:
    """`weights`: FP32, by the names of a `PackedEncoder`. `seconds`: spent on the steps, over all resumptions."""

    weights: Mapping[str, Array]
    steps: int
    seconds: float


class Lesson:
    """Teaches a student the answers of the encoder `source` to `texts`.

    `origin`: a digest of all that decides the student: a checkpoint in the folder `work` counts if it has the same.
    `resumed`: the steps that it holds.
    """

    def __init__(
        self, source: EncoderSource, tokenizer: Tokenizer, texts: Sequence[str], recipe: Recipe, origin: str, work: Path
    ) -> None:
        torch.set_num_threads(threads_per_instance(available_cores(), 1))
        self.source = source
        self.work = work
        self._tokenizer = tokenizer
        self._recipe = recipe
        self._origin = origin
        self._tokens = tokenizer.encode([*texts, *variations(texts, recipe.copies, recipe.seed)])
        self._width = width_of(self._tokens)
        self._steps = recipe.epochs * -(-len(self._tokens) // recipe.batch)
        device = "cuda" if cuda_devices() else "cpu"
        layers = chosen_layers(source.layers, recipe.layers)
        self._teacher = load_encoder(source, "fp32", device)
        student = make_student(load_encoder(source, "fp32", device), layers)
        self._trainer = Trainer(self._teacher, student, layers, recipe, self._steps)
        self._checkpoint = load_checkpoint(work, origin)
        self.resumed = self._checkpoint.step if self._checkpoint else 0

    def teach(self, show: Show) -> Taught:
        """Takes all steps that are left."""
        before = 0.0
        if self._checkpoint:
            self._trainer.restore(self._checkpoint.state)
            before = self._checkpoint.seconds
        if self.resumed < self._steps:
            before += self._take_steps(before, show)
        weights = {name: weight.detach().cpu().numpy() for name, weight in self._trainer.weights.items()}
        return Taught(weights, self._steps, before)

    def answers(self, texts: Sequence[str]) -> tuple[Array, Array]:
        """The teacher's and the student's embeddings of `texts`, FP32 [texts, hidden]."""
        tokens = self._tokenizer.encode(texts)
        teacher, student = (embeddings(encoder, tokens) for encoder in (self._teacher, self._trainer.student))
        return teacher.cpu().numpy(), student.cpu().numpy()

    def forget(self) -> None:
        """Removes the checkpoint."""
        (self.work / FILE).unlink(missing_ok=True)

    def _take_steps(self, before: float, show: Show) -> float:
        """Returns the seconds taken."""
        show("embed the texts", 0, self._steps)
        targets = embeddings(self._teacher, self._tokens)
        started = time.perf_counter()
        for step in range(self.resumed, self._steps):
            lot = self._lot(step)
            loss = self._trainer.step(step, lot, targets[lot.texts])
            show(f"teach, loss {loss:.3f}", step + 1, self._steps)
            if (step + 1) % _STEPS_BETWEEN_CHECKPOINTS == 0 or step + 1 == self._steps:
                seconds = before + time.perf_counter() - started
                save_checkpoint(self.work, self._origin, Checkpoint(step + 1, seconds, self._trainer.state()))
        return time.perf_counter() - started

    def _lot(self, step: int) -> Lot:
        """That of a step, which depends on nothing but its number: so a lesson that goes on takes the same steps."""
        epoch, number = divmod(step, -(-len(self._tokens) // self._recipe.batch))
        order = order_of(len(self._tokens), self._recipe.seed, epoch)
        start = number * self._recipe.batch
        return packed(self._tokens, order[start : start + self._recipe.batch], self._width)
