"""The door of a text model: texts or token ids come in, one part of tokens a text goes on."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from engines.errors import InvalidInputError
from engines.model_config import ModelConfig
from engines.tensor import BYTES, INT64, Array, Signature, Tensors, TensorSpec
from engines.text import TextTooLongError, Tokenizer
from service.errors import InvalidRequestError
from service.intake import check_request
from service.types import InferRequest, Job
from service.windows import WeightedMean, Windows, open_windows

_INLINE_BYTES = 4096
"""Longer texts are tokenised on a thread, so that the event loop never waits for them."""
_BYTES_PER_TOKEN, _SPECIAL = 3, 2
"""Of English text; a guess for `estimate`, which must cost nothing."""
_IDS, _MASK, _TEXT = "input_ids", "attention_mask", "text"


@dataclass(frozen=True, slots=True)
class TextIntake:
    """Takes BYTES `text` [n] or [n, 1], or INT64 `input_ids` [n, length] with an optional `attention_mask`.

    `part` makes of a text's ids [length] the tensors that go to the batcher. `windows`: splits longer texts than the
    model's window, None refuses them.
    """

    signature: Signature
    tokenizer: Tokenizer
    part: Callable[[Array], Tensors]
    windows: Windows | None = None

    def estimate(self, request: InferRequest) -> int:
        texts, ids = request.inputs.get(_TEXT), request.inputs.get(_IDS)
        if ids is not None:
            return int(ids.size)
        if texts is None or texts.dtype != object:
            return 1
        costs = [len(text) // _BYTES_PER_TOKEN + _SPECIAL for text in texts.ravel().tolist()]
        return sum(costs) if self.windows is None else self.windows.cost(costs, request)

    async def check(self, request: InferRequest) -> Job:
        check_request(request, self.signature)
        if (_TEXT in request.inputs) == (_IDS in request.inputs):
            raise InvalidRequestError(f"send either {_TEXT!r} or {_IDS!r}; found {sorted(request.inputs)}", _TEXT)
        if _IDS in request.inputs:
            return self._job(request, self._given(request.inputs[_IDS], request.inputs.get(_MASK)))
        texts = request.inputs[_TEXT].ravel().tolist()
        try:
            tokens = await self._encode(texts)
        except TextTooLongError as error:
            if self.windows is None:
                raise InvalidRequestError(str(error), _TEXT) from None
            return await self._in_windows(request, texts, self.windows)
        except InvalidInputError as error:
            raise InvalidRequestError(str(error), _TEXT) from None
        _refuse_empty(tokens)
        return self._job(request, tokens)

    def _job(self, request: InferRequest, tokens: Sequence[Array]) -> Job:
        return Job(request, [self.part(ids) for ids in tokens], [len(ids) for ids in tokens])

    async def _encode(self, texts: Sequence[bytes]) -> Sequence[Array]:
        if sum(map(len, texts)) <= _INLINE_BYTES:
            return self.tokenizer.encode(texts)
        return await asyncio.to_thread(self.tokenizer.encode, texts)

    async def _in_windows(self, request: InferRequest, texts: Sequence[bytes], windows: Windows) -> Job:
        """The job of texts of which one at least is longer than the window; the windows of such are not urgent."""
        share = windows.share_of(request)
        try:
            found = await asyncio.to_thread(windows.split, texts, share, self.signature.max_batch_size)
        except InvalidInputError as error:
            raise InvalidRequestError(str(error), _TEXT) from None
        _refuse_empty([split.windows[0] for split in found])
        job = self._job(request, [ids for split in found for ids in split.windows])
        long = [split.tokens > self.tokenizer.max_tokens for split in found for _ in split.windows]
        job.bulk = frozenset(number for number, is_long in enumerate(long) if is_long)
        job.join = WeightedMean([split.weights for split in found])
        job.tokens = sum(split.tokens for split in found)
        return job

    def _given(self, ids: Array, mask: Array | None) -> Sequence[Array]:
        if mask is not None and mask.shape != ids.shape:
            raise InvalidRequestError(f"{_MASK!r} has shape {list(mask.shape)}, {_IDS!r} {list(ids.shape)}", _MASK)
        rows = [row if mask is None else row[mask[number] != 0] for number, row in enumerate(ids)]
        try:
            return self.tokenizer.check(rows)
        except InvalidInputError as error:
            splits = self.windows is not None and isinstance(error, TextTooLongError)
            remedy = "; sent as text, it is split into windows here" if splits else ""
            raise InvalidRequestError(f"{error}{remedy}", _IDS) from None


def _refuse_empty(texts: Sequence[Array]) -> None:
    """A tokenizer that adds no special tokens makes nothing of an empty text."""
    for index, ids in enumerate(texts):
        if len(ids) == 0:
            raise InvalidRequestError(f"text {index} has no tokens; send a text that is not empty", _TEXT)


def text_intake(config: ModelConfig, tokenizer: Tokenizer, most: int, version: Path) -> TextIntake:
    """The door of a model with a tokenizer. `most`: texts, or windows of them, one request may bring.

    `version`: the version's folder. Raises `ModelLoadError`, see `open_windows`.
    """
    part: Callable[[Array], Tensors] = _packed_part
    outputs = tuple(_per_text(spec) for spec in config.outputs)
    if config.packing is None:
        part = partial(_padded_part, [spec.name for spec in config.inputs])
        outputs = config.outputs
    inputs = (
        TensorSpec(_TEXT, BYTES, (1,), optional=True),
        TensorSpec(_IDS, INT64, (-1,), optional=True),
        TensorSpec(_MASK, INT64, (-1,), optional=True),
    )
    splits = config.text is not None and config.text.windows
    windows = open_windows(config, tokenizer, outputs, version) if splits else None
    return TextIntake(Signature(inputs, outputs, most), tokenizer, part, windows)


def _packed_part(ids: Array) -> Tensors:
    """{input_ids: [length]}, as the packed layout takes it."""
    return {_IDS: ids}


def _padded_part(names: Sequence[str], ids: Array) -> Tensors:
    """One row [1, length] of each input: the ids, ones for the mask, zeros for any other (token types)."""
    row = ids[np.newaxis]
    made = {_IDS: row, _MASK: np.ones_like(row)}
    return {name: made.get(name, np.zeros_like(row)) for name in names}


def _per_text(spec: TensorSpec) -> TensorSpec:
    """A packed model's output without its dimension of segments."""
    return TensorSpec(spec.name, spec.datatype, spec.shape[1:], labels=spec.labels)
