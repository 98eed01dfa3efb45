"""Whether a model answers in a batch as it does alone, found out by running it.

Any architecture may be loaded, and some look at the mask or the cache in ways of their own (positions counted from the
mask, states that are not keys and values). A list of names would be out of date; two short prompts tell.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from engines.errors import EngineError, EngineMemoryError, ModelLoadError
from engines.torch_generate_cache import SlotCache
from engines.torch_generate_config import Architecture
from engines.torch_generate_model import CausalModel

_TOLERANCE = 0.01
_LOOSE_TOLERANCE = 0.3
"""Of the difference between logits, in their standard deviations: in FP32, and below. A wrong mask makes about 1."""
_LONG, _SHORT, _STRIDE = 7, 3, 37


def probe(name: str, model: CausalModel, architecture: Architecture) -> int:
    """Bytes that a token takes in the cache; raises `ModelLoadError` where batched answers differ."""
    refusal = f"model {name!r}: torch_generate cannot batch {architecture.name}"
    remedy = "serve it with a server made for it, through openai_upstream"
    if not model.can_cache:
        raise ModelLoadError(f"{refusal}: its forward takes no position_ids or no cache; {remedy}")
    cache = SlotCache(architecture.layers, 2, 2 * (_LONG + 1))
    try:
        with model.running():
            differences = list(_differences(model, cache))
            size = cache.bytes_per_token()
    except EngineMemoryError as error:
        raise ModelLoadError(
            f"model {name!r}: no memory is left beside the weights ({error}); use a lower precision or a smaller model"
        ) from error
    except EngineError as error:
        raise ModelLoadError(f"{refusal}: a first run failed ({error}); {remedy}") from error
    tolerance = _TOLERANCE if model.exact else _LOOSE_TOLERANCE
    if not size or not all(difference < tolerance for difference in differences):
        found = ", ".join(f"{difference:.2g}" for difference in differences)
        raise ModelLoadError(
            f"{refusal}: its logits in a batch differ from those alone by {found} standard deviations, wanted less "
            f"than {tolerance}; {remedy}"
        )
    return size


def _differences(model: CausalModel, cache: SlotCache) -> Iterator[float]:
    """Of a long prompt in two pieces, a short one, and the step behind them both."""
    long, short = ([(i * _STRIDE + 1) % model.vocabulary for i in range(n + 1)] for n in (_LONG, _SHORT))
    cache.make_room(2, _LONG + 1, (0, 0))
    model.advance(cache, 0, [0], [long[:4]])
    yield _difference(model.advance(cache, 0, [4], [long[4:_LONG]])[0], model.alone(long[:_LONG]))
    yield _difference(model.advance(cache, 1, [0], [short[:_SHORT]])[0], model.alone(short[:_SHORT]))
    both = model.advance(cache, 0, [_LONG, _SHORT], [long[_LONG:], short[_SHORT:]])
    for row, tokens in zip(both, (long, short), strict=True):
        yield _difference(row, model.alone(tokens))


def _difference(got: Tensor, wanted: Tensor) -> float:
    spread = wanted.float().std().clamp_min(torch.finfo(torch.float32).tiny)
    return float((got.float() - wanted.float()).abs().max() / spread)
