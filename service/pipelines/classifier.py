"""Asks a classifying model what a message is about."""

import logging
from dataclasses import dataclass

import numpy as np

from engines.tensor import BYTES, FP32, Array, Signature
from service.ensembles.door import Infer
from service.errors import BatchyardError, DeadlineExceededError, DeadlineHopelessError
from service.types import NO_HINTS, Hints, InferRequest

LOGGER = logging.getLogger("batchyard.pipelines")

_TEXT, _LABEL, _CONFIDENCE = "text", "label", "confidence"


@dataclass(frozen=True, slots=True)
class Intent:
    """What a message is about. `confidence`: from 0 to 1. `engine`: what found it."""

    label: str
    confidence: float
    engine: str


class Classifier:
    """A model or route with an input `text` (BYTES) and the outputs `label` (BYTES) and `confidence` (FP32).

    `excerpt`: bytes of a text that it is given whole; see `excerpts`.
    """

    def __init__(self, model: str, excerpt: int, infer: Infer) -> None:
        self._model = model
        self._excerpt = excerpt
        self._infer = infer
        self._trouble = ""

    async def classify(self, text: str, deadline: float, priority: int, hints: Hints = NO_HINTS) -> Intent | None:
        """The intent of a text; None, and a line in the log, where the classifier cannot tell.

        `hints`: of the call for which it is asked; who calls, and who pays, counts here too.

        Raises only `DeadlineExceededError` and `DeadlineHopelessError`: then there is no time left for an answer.
        """
        request = InferRequest(
            self._model,
            {_TEXT: self._batch(text)},
            outputs=(_LABEL, _CONFIDENCE),
            deadline=deadline,
            priority=priority,
            hints=Hints(tenant=hints.tenant, cache=hints.cache, bill=hints.bill),
        )
        try:
            response = await self._infer(request)
        except (DeadlineExceededError, DeadlineHopelessError):
            raise
        except BatchyardError as error:
            self._warn(str(error))
            return None
        self._trouble = ""
        confidences = response.outputs[_CONFIDENCE].ravel()
        best = int(confidences.argmax())
        label: bytes = response.outputs[_LABEL].ravel()[best]
        return Intent(label.decode("utf-8", "replace"), float(confidences[best]), response.engine)

    def _batch(self, text: str) -> Array:
        """BYTES [n, 1]."""
        parts = excerpts(text, self._excerpt)
        batch = np.empty((len(parts), 1), dtype=object)
        batch[:, 0] = parts
        return batch

    def _warn(self, trouble: str) -> None:
        """Once for each new trouble: a classifier that is down is asked by every request."""
        if trouble != self._trouble:
            self._trouble = trouble
            LOGGER.warning("classifier %s cannot tell; answers get no policy: %s", self._model, trouble)

    def misfit(self, signature: Signature) -> str:
        """What the classifier lacks to be one, by its tensors; "" if nothing."""
        inputs = {(spec.name, spec.datatype) for spec in signature.inputs}
        outputs = {(spec.name, spec.datatype) for spec in signature.outputs}
        missing = [f"input {name} {kind}" for name, kind in ((_TEXT, BYTES),) if (name, kind) not in inputs]
        wanted = ((_LABEL, BYTES), (_CONFIDENCE, FP32))
        missing += [f"output {name} {kind}" for name, kind in wanted if (name, kind) not in outputs]
        return ", ".join(missing)


def excerpts(text: str, size: int) -> list[bytes]:
    """A text as UTF-8: whole where it has at most `size` bytes, else its beginning and its end, `size` bytes each.

    A text is about one thing, but a long one says it before or behind the story around it: both are classified, and the
    surer label counts. Bytes, since no tokenizer makes more tokens than that of a text in any language.
    """
    text = text.strip()
    head, tail = (part.encode("utf-8", "replace") for part in (text[:size], text[-size:]))
    if len(text) <= size and len(head) <= size:
        return [head]
    return [part.decode("utf-8", "ignore").encode() for part in (head[:size], tail[-size:])]
