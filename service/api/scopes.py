"""The one table: what a key must open for each path of HTTP and each method of gRPC. What is not in it is for nobody.

Public is what load balancers and people need before they have a key: is the server alive and ready, what is it, and
how is it asked. `"key"` is for whoever has one.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Literal, NamedTuple

from service.tenant_settings import Scope

Needed = Scope | Literal["public", "key"]

MOST_PATHS = 1024
"""That are remembered as they were asked for."""
_MODEL = "/v2/models/{model}"
_VERSION = "/v2/models/{model}/versions/{version}"
_MEMORY = [f"/v2/{kind}sharedmemory" for kind in ("system", "cuda")]

HTTP: Mapping[tuple[str, str], Needed] = {
    ("GET", "/v2"): "public",
    ("GET", "/v2/health/live"): "public",
    ("GET", "/v2/health/ready"): "public",
    ("GET", "/docs"): "public",
    ("GET", "/openapi.json"): "public",
    **{("GET", f"{model}{end}"): "infer" for model in (_MODEL, _VERSION) for end in ("", "/ready", "/config")},
    **{
        ("POST", f"{model}/{end}"): "infer"
        for model in (_MODEL, _VERSION)
        for end in ("infer", "generate", "generate_stream")
    },
    ("POST", "/v2/repository/index"): "infer",
    ("POST", "/v1/embeddings"): "infer",
    ("POST", "/v1/chat/completions"): "infer",
    ("POST", "/v1/completions"): "infer",
    ("GET", "/v1/models"): "infer",
    ("GET", "/v1/models/{model:path}"): "infer",
    ("GET", "/v1/usage"): "key",
    **{("GET", f"{memory}/{end}"): "infer" for memory in _MEMORY for end in ("status", "region/{region}/status")},
    **{
        ("POST", f"{memory}/{end}"): "infer"
        for memory in _MEMORY
        for end in ("region/{region}/register", "unregister", "region/{region}/unregister")
    },
    ("GET", "/metrics"): "metrics",
    ("GET", "/v2/models/stats"): "metrics",
    ("GET", f"{_MODEL}/stats"): "metrics",
    ("GET", f"{_VERSION}/stats"): "metrics",
    ("POST", "/v2/repository/models/{model}/load"): "admin",
    ("POST", "/v2/repository/models/{model}/unload"): "admin",
    **{(verb, path): "admin" for verb in ("GET", "POST") for path in ("/v2/trace/setting", "/v2/logging")},
    **{(verb, f"{_MODEL}/trace/setting"): "admin" for verb in ("GET", "POST")},
}

GRPC: Mapping[str, Needed] = {
    "ServerLive": "public",
    "ServerReady": "public",
    "ServerMetadata": "public",
    "Check": "public",
    "Watch": "public",
    "ModelReady": "infer",
    "ModelMetadata": "infer",
    "ModelConfig": "infer",
    "ModelInfer": "infer",
    "ModelStreamInfer": "infer",
    "RepositoryIndex": "infer",
    "SystemSharedMemoryStatus": "infer",
    "SystemSharedMemoryRegister": "infer",
    "SystemSharedMemoryUnregister": "infer",
    "CudaSharedMemoryStatus": "infer",
    "CudaSharedMemoryRegister": "infer",
    "CudaSharedMemoryUnregister": "infer",
    "ModelStatistics": "metrics",
    "RepositoryModelLoad": "admin",
    "RepositoryModelUnload": "admin",
    "TraceSetting": "admin",
    "LogSettings": "admin",
}
"""By the names of methods, of both services."""


class Way(NamedTuple):
    """A path that is served. `methods`: what each needs. `model`: that it names, "" where it names none."""

    methods: Mapping[str, Needed]
    model: str


class Ways:
    """Finds what a path needs, by one regular expression over all of them, those with the fewest parameters first."""

    def __init__(self, table: Mapping[tuple[str, str], Needed]) -> None:
        self._methods: dict[str, dict[str, Needed]] = {}
        for (method, path), needed in table.items():
            self._methods.setdefault(path, {})[method] = needed
        self._paths = sorted(self._methods, key=lambda path: path.count("{"))
        self._pattern = re.compile("|".join(f"({_pattern(path)})" for path in self._paths))
        groups = [1 + ("{model" in path) for path in self._paths]
        self._at = {1 + sum(groups[:at]): at for at in range(len(groups))}

        self.find: Callable[[str], Way | None] = lru_cache(MOST_PATHS)(self._find)
        """What a path needs; None where nothing is served there."""

    def _find(self, path: str) -> Way | None:
        match = self._pattern.fullmatch(path)
        if match is None or match.lastindex is None:
            return None
        found = self._paths[self._at[match.lastindex]]
        return Way(self._methods[found], match[match.lastindex + 1] if "{model" in found else "")


def _pattern(path: str) -> str:
    """The model is a group of its own, inside that of the path."""
    words = {"{model:path}": "(.*)", "{model}": "([^/]+)"}
    return "".join(
        words.get(part, "[^/]+") if part.startswith("{") else re.escape(part) for part in re.split(r"({[^}]+})", path)
    )
