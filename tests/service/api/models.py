"""A small gateway that really answers, for tests of the HTTP surface alone: identities, sums, embeddings and faults."""

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from engines.config.pbtxt import parse
from engines.model_config import ModelConfig
from engines.tensor import BYTES, DATA_TYPES, FP32, INT64, Array, Signature, TensorSpec
from service.errors import (
    DeadlineExceededError,
    EngineFailedError,
    InvalidRequestError,
    ModelUnavailableError,
    NotFoundError,
    QueueFullError,
    UnsupportedError,
)
from service.generating import GenerateRequest, Generation
from service.responses import OneResponse
from service.together import together
from service.types import DIRECT, InferRequest, InferResponse, ModelInfo, Prediction, Responses, Timing
from tests.service.api.talkers import ROUTED, TALKERS, Talker

EMBEDDING_SIZE = 8
Run = Callable[[InferRequest], dict[str, Array]]


def identity(request: InferRequest) -> dict[str, Array]:
    return {name.replace("INPUT", "OUTPUT"): array for name, array in request.inputs.items()}


def add_sub(request: InferRequest) -> dict[str, Array]:
    a, b = request.inputs["INPUT0"], request.inputs["INPUT1"]
    return {"SUM": a + b, "DIFFERENCE": a - b}


def embed(request: InferRequest) -> dict[str, Array]:
    rows = [embedding_of(bytes(np.asarray(row).tobytes() if row.dtype != object else row[0])) for row in _rows(request)]
    return {"embedding": np.stack(rows)}


def _rows(request: InferRequest) -> Sequence[Array]:
    (array,) = request.inputs.values()
    return list(array)


def embedding_of(data: bytes) -> Array:
    """A unit vector that depends on every byte of `data`."""
    seed = int.from_bytes(hashlib.sha256(data).digest()[:8], "little")
    vector = np.random.default_rng(seed).standard_normal(EMBEDDING_SIZE).astype(np.float32)
    return vector / np.linalg.norm(vector)


def not_finite(request: InferRequest) -> dict[str, Array]:
    return {"embedding": np.full((1, EMBEDDING_SIZE), np.nan, np.float32)}


def raiser(error: Exception) -> Run:
    def run(request: InferRequest) -> dict[str, Array]:
        raise error

    return run


def info(name: str, signature: Signature, **changes: object) -> ModelInfo:
    defaults: dict[str, object] = {"versions": ("1", "2"), "platform": "test", "backend": "test", "ready": True}
    return ModelInfo(name=name, signature=signature, **(defaults | changes))  # type: ignore[arg-type]


def one_to_one(name: str, **changes: object) -> tuple[TensorSpec, TensorSpec]:
    datatype = DATA_TYPES[name]
    return (
        TensorSpec("INPUT0", datatype, (-1,)),
        TensorSpec("OUTPUT0", datatype, (-1,), **changes),  # type: ignore[arg-type]
    )


def identity_model(datatype: str, **changes: object) -> Signature:
    taken, given = one_to_one(datatype, **changes)
    return Signature((taken,), (given,), max_batch_size=8)


TIMEOUTS = {"scalar": 3.0, "thinker": 4.0}
"""Of the models that have one of their own."""
FAULTS: dict[str, Exception] = {
    "full": QueueFullError("the queue of model 'full' holds 10 requests", 0.25),
    "late": DeadlineExceededError("the deadline passed after 5 ms"),
    "broken": EngineFailedError("the engine failed: out of order"),
    "down": ModelUnavailableError("model 'down' is restarting"),
    "back_soon": ModelUnavailableError("model 'back_soon' is tried again soon", 1.25),
    "poisoned": EngineFailedError("this row breaks the engine", retryable=False),
    "wrong": InvalidRequestError("input 'INPUT0' is wrong", "INPUT0"),
    "unsupported": UnsupportedError("sequences are not served", "sequence_id"),
    "crash": ZeroDivisionError("a secret of the inside"),
}


class TestGateway:
    """Answers in process; `slow` answers never, and `asked` and `cancelled` tell what became of it."""

    __test__ = False

    def __init__(self, config_folder: Path) -> None:
        self.clock = time.monotonic
        self.asked = threading.Semaphore(0)
        self.cancelled = threading.Semaphore(0)
        self.last: InferRequest | None = None
        self.talker = Talker(self.asked, self.cancelled)
        self._models: dict[str, tuple[ModelInfo, Run]] = {}
        for name in DATA_TYPES:
            self.add(info(f"identity_{name.lower()}", identity_model(name)), identity)
        self.add(info("identity_text", identity_model("BYTES")), identity)
        fp32 = identity_model("FP32")
        self.add(info("identity", fp32, config=_config(config_folder)), identity)
        self.add(info("labelled", identity_model("FP32", labels=("cat", "dog", "eel"))), identity)
        self.add(info("unbatched", Signature(fp32.inputs, fp32.outputs)), identity)
        self.add(info("scalar", Signature((TensorSpec("INPUT0", FP32, (2,)),), fp32.outputs, 8)), identity)
        sums = (TensorSpec("SUM", FP32, (-1,)), TensorSpec("DIFFERENCE", FP32, (-1,)))
        two = (TensorSpec("INPUT0", FP32, (-1,)), TensorSpec("INPUT1", FP32, (-1,)))
        self.add(info("add_sub", Signature(two, sums, 8)), add_sub)
        embedding = (TensorSpec("embedding", FP32, (EMBEDDING_SIZE,)),)
        text = (TensorSpec("text", BYTES, (1,), optional=True), TensorSpec("input_ids", INT64, (-1,), optional=True))
        self.add(info("minilm", Signature(text, embedding, 4), variants=("minilm_a", "minilm_b")), embed)
        self.add(info("nan", Signature(text, embedding, 4)), not_finite)
        self.add(info("slow", Signature(text + fp32.inputs, embedding, 4)), identity)
        for name, fault in FAULTS.items():
            self.add(info(name, Signature(text + fp32.inputs, embedding, 4)), raiser(fault))
        self.add(
            info("bad", Signature((), ()), ready=False, reason="config.pbtxt:3: no such field", versions=()), embed
        )

        for name in TALKERS:
            self.add(info(name, Signature((), ())), identity)

    def caches(self, name: str) -> bool:
        return False

    def add(self, model: ModelInfo, run: Run) -> None:
        self._models[model.name] = (model, run)

    async def infer(self, request: InferRequest) -> InferResponse:
        found = self.model(request.model, request.version)
        if not found.ready:
            raise ModelUnavailableError(found.reason)
        self.last = request
        if request.model == "slow" and not _asks_to_fail(request):
            await self._never()
        if _asks_to_fail(request):
            raise EngineFailedError("this row is poison")
        outputs = self._models[request.model][1](request)
        tokens = sum(array.size for array in request.inputs.values())
        version = request.version or found.versions[-1]
        timing = Timing(0.0015, 0.00225, 4, 30, 40, Prediction(0.001, 0.004, 0.0085), 0.005)
        routed = ROUTED if request.hints.variant else DIRECT
        return InferResponse(found.name, version, outputs, "numpy", timing, tokens, routed)

    async def infer_all(self, requests: Sequence[InferRequest]) -> Sequence[InferResponse]:
        return await together(map(self.infer, requests))

    async def stream(self, request: InferRequest) -> Responses:
        return OneResponse(await self.infer(request))

    async def generate(self, request: GenerateRequest) -> Generation:
        found = self.model(request.model, request.version)
        if not found.ready:
            raise ModelUnavailableError(found.reason)
        if request.model in FAULTS:
            raise FAULTS[request.model]
        return self.talker.answer(request, request.version or found.versions[-1])

    def timeout_of(self, name: str) -> float | None:
        return TIMEOUTS.get(name)

    async def _never(self) -> None:
        self.asked.release()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.release()

    def model(self, name: str, version: str = "") -> ModelInfo:
        if name not in self._models:
            raise NotFoundError(f"no model {name!r}")
        found = self._models[name][0]
        if version and version not in found.versions:
            raise NotFoundError(f"model {name!r} has no version {version!r}; it has {', '.join(found.versions)}")
        return found

    def models(self) -> Sequence[ModelInfo]:
        return [model for model, _ in self._models.values()]


def _asks_to_fail(request: InferRequest) -> bool:
    ids = request.inputs.get("input_ids")
    return ids is not None and bool((ids == 666).any())


def _config(folder: Path) -> ModelConfig:
    home = folder / "identity"
    home.mkdir(exist_ok=True)
    text = """backend: "identity"
max_batch_size: 8
input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ -1 ] } ]
"""
    return parse(text, source="identity/config.pbtxt", folder=home)
