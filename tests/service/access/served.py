"""A server with tenants, over real sockets: HTTP and gRPC of one process."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from service.access.keys import digest_of
from tests.e2e.processes import IDENTITY, parameter, serving, write_model
from tests.service.ensembles.models import steps

ROOT = Path(__file__).parents[3]
ECHO = ROOT / "model_repository" / "echo"
TENANTS: dict[str, dict[str, Any]] = {
    "app": {"limits": [{"seconds": 3600, "requests": 1000, "tokens": 100_000, "engine_seconds": 100.0}]},
    "other": {},
    "narrow": {"routes": ["identity", "echo"]},
    "tight": {"limits": [{"seconds": 3600, "requests": 2}]},
    "ops": {"scopes": ["admin"]},
    "watch": {"scopes": ["metrics"]},
    "spent": {"limits": [{"seconds": 3600, "engine_seconds": 0.015}]},
    "busy": {"max_concurrency": 1},
    "blind": {"routes": ["identity"]},
}
KEYS = {name: f"by_key-of-{name}" for name in TENANTS}
SLOW = IDENTITY + parameter("identity.delay_ms", 20)
TWICE = """platform: "ensemble" max_batch_size: 64
input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ -1 ] } ]
""" + steps("slow INPUT0=INPUT0 -> OUTPUT0=one", "slow INPUT0=one -> OUTPUT0=OUTPUT0")
VECTORS = """backend: "python" max_batch_size: 8
input [ { name: "input_ids" data_type: TYPE_INT64 dims: [ -1 ] } ]
output [ { name: "embedding" data_type: TYPE_FP32 dims: [ 1 ] } ]
"""
LENGTHS = """import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self._answer(pb_utils.get_input_tensor_by_name(one, "input_ids").as_numpy()) for one in requests]

    def _answer(self, ids):
        made = pb_utils.Tensor("embedding", np.full((len(ids), 1), ids.shape[1], np.float32))
        return pb_utils.InferenceResponse([made])
"""


@dataclass(frozen=True, slots=True)
class Served:
    """`log`: of the server. `grpc`: `host:port`."""

    url: str
    grpc: str
    log: Path

    def client(self, tenant: str = "", **headers: str) -> httpx.Client:
        """Of a tenant; "" has no key."""
        if tenant:
            headers["authorization"] = f"Bearer {KEYS[tenant]}"
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)


@contextmanager
def served(folder: Path, *arguments: str) -> Iterator[Served]:
    """Until the end of the block."""
    models = folder / "models"
    write_model(models, "identity", IDENTITY)
    write_model(models, "slow", SLOW)
    write_model(models, "twice", TWICE)
    write_model(models, "vectors", VECTORS)
    (models / "vectors" / "1" / "model.py").write_text(LENGTHS)
    shutil.copytree(ECHO, models / "echo")
    tenants = {name: {"keys": [digest_of(KEYS[name].encode()).hex()], **settings} for name, settings in TENANTS.items()}
    flags = ["--tenants", json.dumps(tenants), "--allow-control", "true", "--log-level", "debug", *arguments]
    with serving(folder, models, *flags) as server:
        yield Served(f"http://127.0.0.1:{server.port}", server.grpc, server.log)
