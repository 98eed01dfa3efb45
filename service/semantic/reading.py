"""What a text is about: its vector and its intent, asked of models, and its facts."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np

from engines.tensor import Array
from service.errors import BatchyardError
from service.semantic.facts import Facts, facts_of
from service.semantic.index import Vector
from service.types import Hints, InferRequest, InferResponse

LOGGER = logging.getLogger("batchyard.semantic")

Infer = Callable[[InferRequest], Awaitable[InferResponse]]

_TEXT, _EMBEDDING, _LABEL, _CONFIDENCE = "text", "embedding", "label", "confidence"


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """`confidence`: of the label, from 0 to 1."""

    vector: Vector
    label: bytes
    confidence: float
    facts: Facts


class Reader:
    """Asks an encoder and a classifier about a text, both at once. Says so once where they cannot tell."""

    def __init__(self, name: str, encoder: str, classifier: str, infer: Infer) -> None:
        self._name = name
        self._encoder = encoder
        self._classifier = classifier
        self._infer = infer
        self._trouble = ""

    async def read(self, text: str, deadline: float, priority: int, hints: Hints) -> Reading | None:
        """None where the models cannot tell by the deadline; raises `CancelledError` only."""

        def ask(model: str, *outputs: str) -> Awaitable[InferResponse]:
            request = InferRequest(model, {_TEXT: _tensor(text)}, outputs=outputs, deadline=deadline, hints=hints)
            request.priority = priority
            return self._infer(request)

        encoded, classified = await asyncio.gather(
            ask(self._encoder, _EMBEDDING), ask(self._classifier, _LABEL, _CONFIDENCE), return_exceptions=True
        )
        for answer in (encoded, classified):
            if isinstance(answer, BatchyardError):
                self._warn(str(answer))
                return None
        if isinstance(encoded, BaseException):
            raise encoded
        if isinstance(classified, BaseException):
            raise classified
        return self._reading(encoded, classified, text)

    def _reading(self, encoded: InferResponse, classified: InferResponse, text: str) -> Reading | None:
        try:
            vector = encoded.outputs[_EMBEDDING].astype(np.float32).ravel()
            label: bytes = classified.outputs[_LABEL].ravel()[0]
            confidence = float(classified.outputs[_CONFIDENCE].ravel()[0])
        except (KeyError, IndexError, ValueError) as error:
            self._warn(f"an output is not as it must be: {error!r}")
            return None
        length = float(np.linalg.norm(vector))
        if not 0 < length < float("inf"):
            return None
        self._trouble = ""
        return Reading(vector / np.float32(length), label, confidence, facts_of(text))

    def _warn(self, trouble: str) -> None:
        """Once for each new trouble: every request asks."""
        if trouble != self._trouble:
            self._trouble = trouble
            LOGGER.warning("the semantic cache of %s cannot read questions: %s", self._name, trouble)


def _tensor(text: str) -> Array:
    """BYTES [1, 1]."""
    tensor = np.empty((1, 1), object)
    tensor[0, 0] = text.encode("utf-8", "replace")
    return tensor
