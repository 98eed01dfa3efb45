"""A causal model of transformers, loaded from a folder, run over the rows of a `SlotCache`."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging

from engines.errors import EngineError, EngineMemoryError, ExecutionError, ModelLoadError
from engines.model_config import ModelConfig
from engines.torch_generate_cache import SlotCache

_DTYPES = MappingProxyType({"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16})
_CACHE_WORDS = ("cache", "past_key_values")
"""What transformers calls the cache, since 5.24 and before."""
_ATTENTIONS = ("sdpa", "eager")
"""In the order of wish; naming one keeps transformers from fetching the kernel that a config.json may name."""
_SHOWN = 3


class CausalModel:
    """Runs `model`, whose answers depend on tokens, positions and a cache alone, with `threads` CPU threads."""

    def __init__(self, model: PreTrainedModel, threads: int) -> None:
        self.vocabulary = _vocabulary(model)
        self.ends = _end_tokens(model)
        self.device = model.device
        self._model = model
        self._threads = threads
        words = inspect.signature(model.forward).parameters
        self._cache_word = next((word for word in _CACHE_WORDS if word in words), "")
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in words else {}
        self._takes_positions = "position_ids" in words
        self._least = torch.finfo(model.dtype).min
        self.exact = model.dtype == torch.float32

    @property
    def can_cache(self) -> bool:
        """Does it take positions and a cache as words of their own?"""
        return bool(self._cache_word) and self._takes_positions

    def advance(self, cache: SlotCache, first: int, starts: Sequence[int], tokens: Sequence[Sequence[int]]) -> Tensor:
        """Adds `tokens`, as many to each row, to the rows of `cache` from `first` on, which hold `starts` tokens.

        Returns the logits behind the last of them, [rows, vocabulary].
        """
        positions, seen = cache.place(first, starts, len(tokens[0]), self.device)
        mask = torch.zeros(seen.shape, dtype=self._model.dtype, device=self.device).masked_fill_(~seen, self._least)
        answer = self._model(
            input_ids=torch.tensor(tokens, device=self.device),
            attention_mask=mask,
            position_ids=positions,
            use_cache=True,
            return_dict=True,
            **{self._cache_word: cache},
            **self._last_only,
        )
        logits: Tensor = answer.logits[:, -1]
        return logits

    def alone(self, tokens: Sequence[int]) -> Tensor:
        """The logits behind `tokens`, [vocabulary], by the model's own way, without a cache."""
        ids = torch.tensor([tokens], device=self.device)
        logits: Tensor = self._model(input_ids=ids, use_cache=False).logits[0, -1]
        return logits

    @contextmanager
    def running(self) -> Iterator[None]:
        """Within, torch runs without gradients, and raises errors of engines only.

        The count of threads is set each time: OpenMP keeps it for the calling thread.
        """
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                yield
        except EngineError:
            raise
        except Exception as error:  # whatever torch raises, callers of an engine see its own errors only
            reason = " ".join(str(error).split())
            if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
                raise EngineMemoryError(f"torch ran out of memory on {self.device}: {reason}") from error
            raise ExecutionError(f"torch failed on {self.device}: {reason}") from error


def load_model(config: ModelConfig, folder: Path, device: str, threads: int) -> CausalModel:
    """Loads the weights in `folder`, safetensors only, without any code of theirs; raises `ModelLoadError`."""
    dtype = _DTYPES.get(config.precision)
    if dtype is None:
        raise ModelLoadError(
            f"model {config.name!r}: torch_generate knows no precision {config.precision}; use {', '.join(_DTYPES)}"
        )
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model, notes = _loaded(folder, dtype)
        _check_complete(config.name, notes)
        model.to(torch.device(device))  # type: ignore[arg-type]
        model.eval()  # type: ignore[no-untyped-call]
        return CausalModel(model, threads)
    except EngineError:
        raise
    except Exception as error:  # transformers, safetensors and each model raise what they like
        reason = " ".join(str(error).split())
        raise ModelLoadError(f"model {config.name!r}: transformers cannot load the folder: {reason}") from error


def _loaded(folder: Path, dtype: torch.dtype) -> tuple[PreTrainedModel, Mapping[str, object]]:
    for attention in _ATTENTIONS:
        try:
            loaded: Any = AutoModelForCausalLM.from_pretrained(  # a folder  # nosec B615
                folder,
                dtype=dtype,
                attn_implementation=attention,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # to be named by `_check_complete`
            )
            model, notes = loaded
            return model, notes
        except ValueError as error:
            if "scaled_dot_product_attention" not in str(error):
                raise
            refused = error
    raise refused


def _check_complete(model: str, notes: Mapping[str, object]) -> None:
    """transformers fills what the files lack with random numbers."""
    for kind in ("missing_keys", "mismatched_keys"):
        names = notes.get(kind)
        if isinstance(names, set | list) and names:
            shown = ", ".join(sorted(name[0] if isinstance(name, tuple) else str(name) for name in names)[:_SHOWN])
            raise ModelLoadError(
                f"model {model!r}: {len(names)} {kind.replace('_', ' ')} in the safetensors files ({shown} ...); they "
                "are not those of the model that config.json describes; save the model again with save_pretrained"
            )


def _vocabulary(model: PreTrainedModel) -> int:
    (weight,) = model.get_input_embeddings().parameters()
    return len(weight)


def _end_tokens(model: PreTrainedModel) -> frozenset[int]:
    """generation_config.json's, else config.json's."""
    for source in (model.generation_config, model.config):
        ends = getattr(source, "eos_token_id", None)
        if ends is not None:
            return frozenset([ends] if isinstance(ends, int) else ends)
    return frozenset()
