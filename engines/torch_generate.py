"""The engine `torch_generate`: causal models of transformers through torch, batched by iteration, on CPU or CUDA.

The version's folder is a Hugging Face model: `config.json`, `*.safetensors`, optionally `generation_config.json`, of
which only the end tokens are used. Nothing is unpickled, no code of the model's folder runs, nothing is fetched.
`batchyard.precision`: fp32, bf16 or fp16. There is no prefix cache, so `cached_tokens` is always 0.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from engines.base import EngineOptions
from engines.errors import EngineError, ExecutionError, InvalidInputError
from engines.generation import Feature
from engines.model_config import TextGeneration
from engines.text_generator import GenerationRequest, GeneratorLimits, RequestId, Sampling, TokenEvent
from engines.torch import choose_device
from engines.torch_generate_request import check_request
from engines.torch_threads import spin_briefly

if TYPE_CHECKING:
    from engines.torch_generate_model import CausalModel
    from engines.torch_generate_rows import Chosen, Rows

PIECE = 256
"""Prompt tokens that go in with one step, so that a long prompt holds up the answers that run for a moment only."""
_FEATURES: tuple[Feature, ...] = (
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "min_p",
    "presence_penalty",
    "repetition_penalty",
    "seed",
    "top_k",
    "top_logprobs",
)


def open_generator(options: EngineOptions) -> "TorchGenerator":
    """Opens the model in `options.folder`; raises `ModelLoadError` where it, its configuration or device do not fit.

    The window is the configured one, else what config.json says, up to where attention layers begin to forget.
    """
    spin_briefly()
    from engines.torch_encoder import cuda_devices
    from engines.torch_generate_config import read_architecture
    from engines.torch_generate_memory import cache_tokens
    from engines.torch_generate_model import load_model
    from engines.torch_generate_probe import probe
    from engines.torch_generate_rows import Rows

    config = options.config
    architecture = read_architecture(config, options.folder)
    device = choose_device(config, options.device or config.device, cuda_devices())
    model = load_model(config, options.folder, device, options.threads)
    size = probe(config.name, model, architecture)
    tokens = cache_tokens(config, architecture.window, size, model.device)
    sequences = (config.generation or TextGeneration()).max_sequences
    limits = GeneratorLimits(min(architecture.window, tokens), tokens, sequences)
    return TorchGenerator(model, Rows(model, architecture.layers, limits), limits)


class TorchGenerator:
    """Runs `model` over `rows`. A long prompt goes in by pieces, beside the rows that grow."""

    features = frozenset(_FEATURES)

    def __init__(self, model: "CausalModel", rows: "Rows", limits: GeneratorLimits) -> None:
        self.limits = limits
        self._vocabulary = model.vocabulary
        self._model: CausalModel | None = model
        self._rows: Rows | None = rows
        self._ids = count()
        self._running: set[RequestId] = set()
        self._broken = False

    def warm_up(self) -> None:
        """Runs a prompt of a whole piece and two tokens of its answer, drawn at random."""
        size = min(PIECE, self.limits.window - 2)
        if size < 1:
            return
        prompt = np.zeros(size, np.int64)
        self.add(GenerationRequest(prompt, Sampling(2, top_p=0.9, ignore_eos=True)))
        while self._running:
            self.step()

    def check(self, request: GenerationRequest) -> None:
        """Raises `InvalidInputError` for what the window, the vocabulary or the engine cannot hold."""
        check_request(request, self.limits, self._vocabulary)

    def add(self, request: GenerationRequest) -> RequestId:
        """Takes a request; its first token comes with the step that ends its prompt."""
        rows, _ = self._open()
        request_id = next(self._ids)
        rows.add(request_id, request)
        self._running.add(request_id)
        return request_id

    def step(self) -> Sequence[TokenEvent]:
        """One token for each row that grows, then a piece of the prompts that wait. Raises `ExecutionError`."""
        with self._torch() as (rows, model):
            events = [self._event(chosen, model, rows) for chosen in rows.grow()]
            return events + [self._event(chosen, model, rows) for chosen in rows.fill(PIECE)]

    def cancel(self, request_id: RequestId) -> None:
        """Drops a request and frees its place."""
        if request_id in self._running and not self._broken and self._rows is not None:
            self._running.discard(request_id)
            with self._torch() as (rows, _):
                rows.drop(request_id)

    def close(self) -> None:
        """Lets go of the weights and the cache."""
        self._model = None
        self._rows = None
        self._running.clear()

    def _event(self, chosen: "Chosen", model: "CausalModel", rows: "Rows") -> TokenEvent:
        row, token = chosen
        if not row.request.sampling.ignore_eos and token.id in model.ends:
            event = TokenEvent(row.request_id, (), "stop")
        else:
            event = TokenEvent(row.request_id, (token,), "length" if len(row.tokens) == row.most else "")
        if event.finish:
            self._running.discard(row.request_id)
            rows.drop(row.request_id)
        return event

    @contextmanager
    def _torch(self) -> Iterator[tuple["Rows", "CausalModel"]]:
        rows, model = self._open()
        try:
            with model.running():
                yield rows, model
        except InvalidInputError:
            raise
        except EngineError:
            self._broken = True
            raise

    def _open(self) -> tuple["Rows", "CausalModel"]:
        if self._rows is None or self._model is None:
            raise EngineError("the generator is closed")
        if self._broken:
            raise ExecutionError("the generator failed before; close it and open it anew")
        return self._rows, self._model
