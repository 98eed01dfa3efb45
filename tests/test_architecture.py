"""The house rules, read off the source: who may import whom, how long a file may be, where one may print."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("engines", "service", "benchmarks", "loadtests")
LONGEST_MODULE = 300

MAY_PRINT = ("service/cli.py", "engines/build/", "benchmarks/")

# Vendor SDK (import name) -> the engine files that may import it; `engines/build` and `benchmarks` run offline.
SDK_HOMES = {
    "onnxruntime": "engines/onnxruntime",
    "openvino": "engines/openvino",
    "openvino_genai": "engines/openvino_genai",
    "httpx": "engines/openai_upstream",
    "torch": "engines/torch",
    "tensorrt": "engines/tensorrt",
    "tensorrt_rtx_bindings": "engines/tensorrt",
    "cuda": "engines/tensorrt",
    "transformers": "engines/torch",
    "aiohttp": "engines/triton",
}
# Frameworks and messages of protocols (import name) -> the only places that may import them.
PROTOCOL_HOMES = {
    "fastapi": ("service/api/", "service/app.py"),
    "starlette": ("service/api/", "service/app.py"),
    "redis": ("service/redis_link/redis_py.py",),
    "grpc": ("service/api/grpc/", "engines/triton_grpc"),
    "tritonclient.grpc.service_pb2": ("service/api/grpc/", "engines/triton_grpc"),
    "tritonclient.grpc.service_pb2_grpc": ("service/api/grpc/", "engines/triton_grpc"),
}
# Everything under the first may import nothing under the second.
FORBIDDEN = (
    ("engines/", "service"),
    ("engines/", "benchmarks"),
    ("service/", "benchmarks"),
    ("service/batching/", "service.routing"),
    ("service/batching/", "service.cache"),
    ("service/batching/", "service.api"),
    ("service/routing/", "service.batching"),
    ("service/routing/", "service.cache"),
    ("service/routing/", "service.api"),
    ("service/cache/", "service.batching"),
    ("service/cache/", "service.routing"),
    ("service/cache/", "service.api"),
    *[("service/cache/", f"service.{room}") for room in ("access", "ensembles", "generation", "pipelines", "gateway")],
    ("service/semantic/", "service.batching"),
    ("service/semantic/", "service.routing"),
    ("service/semantic/", "service.generation"),
    ("service/semantic/", "service.pipelines"),
    ("service/semantic/", "service.api"),
    ("service/cache/", "service.semantic"),
    ("service/generation/", "service.batching"),
    ("service/generation/", "service.routing"),
    ("service/generation/", "service.cache"),
    ("service/generation/", "service.api"),
    ("service/batching/", "service.generation"),
    ("service/routing/", "service.generation"),
    ("service/ensembles/", "service.batching"),
    ("service/ensembles/", "service.routing"),
    ("service/ensembles/", "service.generation"),
    ("service/ensembles/", "service.pipelines"),
    ("service/ensembles/", "service.api"),
    ("service/api/", "service.ensembles"),
    ("service/sequences/", "service.batching"),
    ("service/sequences/", "service.routing"),
    ("service/sequences/", "service.generation"),
    ("service/sequences/", "service.api"),
    ("service/batching/", "service.sequences"),
    ("service/routing/", "service.sequences"),
    ("service/api/", "service.sequences"),
    ("service/remote/", "service.batching"),
    ("service/remote/", "service.routing"),
    ("service/remote/", "service.generation"),
    ("service/remote/", "service.cache"),
    ("service/remote/", "service.api"),
    ("service/batching/", "service.remote"),
    ("service/routing/", "service.remote"),
    ("service/api/", "service.remote"),
    ("service/pipelines/", "service.batching"),
    ("service/pipelines/", "service.generation"),
    ("service/pipelines/", "service.routing"),
    ("service/pipelines/", "service.api"),
    ("service/door/", "service.api"),
    ("service/door/", "service.batching"),
    ("service/door/", "service.routing"),
    ("service/door/", "service.cache"),
    ("service/door/", "service.access"),
    *[("service/access/", f"service.{room}") for room in ("api", "batching", "routing", "cache", "generation", "door")],
    *[("service/access/", f"service.{room}") for room in ("pipelines", "ensembles", "remote", "redis_link", "gateway")],
    *[(f"service/{room}/", "service.access") for room in ("batching", "routing", "cache", "generation", "pipelines")],
    *[(f"service/{room}/", "service.access") for room in ("ensembles", "remote", "redis_link", "telemetry")],
    ("service/redis_link/", "service.batching"),
    ("service/redis_link/", "service.routing"),
    ("service/redis_link/", "service.generation"),
    ("service/redis_link/", "service.pipelines"),
    ("service/redis_link/", "service.cache"),
    ("service/redis_link/", "service.access"),
    ("service/redis_link/", "service.semantic"),
    ("service/redis_link/", "service.api"),
    ("service/batching/", "service.redis_link"),
    ("service/routing/", "service.redis_link"),
    ("service/generation/", "service.redis_link"),
    ("service/pipelines/", "service.redis_link"),
    ("service/cache/", "service.redis_link"),
    ("service/access/", "service.redis_link"),
    ("service/semantic/", "service.redis_link"),
    ("service/api/", "service.redis_link"),
    ("service/telemetry/", "service.api"),
    ("service/telemetry/", "service.routing"),
    ("service/api/", "service.batching"),
    ("service/api/", "service.routing"),
    ("service/api/", "service.generation"),
    ("service/api/", "service.pipelines"),
    ("service/api/", "service.app"),
    ("loadtests/", "service"),
    ("loadtests/", "engines"),
    ("benchmarks/", "service"),
)


@dataclass(frozen=True, slots=True)
class Import:
    """One import of `name` in `file`. `inside`: it stands in a function, so it happens only when that is called."""

    file: str
    line: int
    name: str
    inside: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.name}"


@dataclass(frozen=True, slots=True)
class Module:
    file: str
    tree: ast.Module
    length: int


def _modules() -> list[Module]:
    paths = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    texts = [(path.relative_to(ROOT).as_posix(), path.read_text("utf-8")) for path in paths]
    return [Module(file, ast.parse(text, file), len(text.splitlines())) for file, text in texts]


def _imports(module: Module) -> Iterator[Import]:
    within = {
        id(node)
        for function in ast.walk(module.tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            assert node.level == 0, f"{module.file}:{node.lineno}: relative import; write the full name"
        else:
            continue
        yield from (Import(module.file, node.lineno, name, id(node) in within) for name in names)


MODULES = _modules()
IMPORTS = [found for module in MODULES for found in _imports(module)]


def _is_of(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def _offenders(files: str, package: str) -> list[str]:
    return [str(i) for i in IMPORTS if i.file.startswith(files) and _is_of(i.name, package)]


def test_the_rooms_are_found() -> None:
    """Else every other test here would pass on nothing."""
    files = {module.file for module in MODULES}
    assert {"engines/base.py", "service/app.py", "service/batching/ticket.py"} <= files
    assert any(i.file == "service/app.py" and i.name == "fastapi" for i in IMPORTS)


@pytest.mark.parametrize(("files", "package"), FORBIDDEN)
def test_import_directions(files: str, package: str) -> None:
    assert _offenders(files, package) == []


@pytest.mark.parametrize("package", PROTOCOL_HOMES)
def test_protocols_stay_at_home(package: str) -> None:
    found = [i for i in IMPORTS if _is_of(i.name, package)]
    assert found
    assert [str(i) for i in found if not i.file.startswith(PROTOCOL_HOMES[package])] == []


def test_of_the_service_only_the_build_command_knows_the_build_room() -> None:
    found = [i for i in IMPORTS if i.file.startswith("service/") and _is_of(i.name, "engines.build")]
    assert [str(i) for i in found if i.file != "service/cli.py" or not i.inside] == []


def test_only_app_wires() -> None:
    assert {i.file for i in IMPORTS if _is_of(i.name, "service.runtime")} == {"service/app.py"}


def test_redis_is_needed_only_where_the_settings_name_one() -> None:
    found = [i for i in IMPORTS if _is_of(i.name, "service.redis_link.redis_py")]
    assert found
    assert all(i.inside for i in found)


@pytest.mark.parametrize("sdk", SDK_HOMES)
def test_one_home_per_vendor_sdk(sdk: str) -> None:
    found = [i for i in IMPORTS if _is_of(i.name, sdk) and not i.file.startswith(("engines/build/", "benchmarks/"))]
    assert [str(i) for i in found if not i.file.startswith(SDK_HOMES[sdk])] == []


def test_the_core_starts_without_any_sdk() -> None:
    """The registry imports no engine file at its top, and the service imports none at all."""
    homes = {home.replace("/", ".") for home in SDK_HOMES.values()}
    found = [i for i in IMPORTS if any(i.name.startswith(home) for home in homes)]
    outside = [i for i in found if not i.file.startswith(tuple(SDK_HOMES.values()))]
    assert [str(i) for i in outside if not i.file.startswith(("engines/build/", "benchmarks/"))] == []


def test_no_module_is_too_long() -> None:
    assert [f"{m.file}: {m.length} lines" for m in MODULES if m.length > LONGEST_MODULE] == []


def test_only_commands_print() -> None:
    calls = [
        f"{module.file}:{node.lineno}"
        for module in MODULES
        if not module.file.startswith(MAY_PRINT)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"print", "breakpoint"}
    ]
    assert calls == []


def test_every_module_says_what_it_is_for() -> None:
    assert [m.file for m in MODULES if m.length and not ast.get_docstring(m.tree)] == []


def test_no_module_holds_mutable_state() -> None:
    """Dictionaries, lists and sets at module level are constants by name, or read-only."""
    held = [
        f"{module.file}:{node.lineno}"
        for module in MODULES
        for node in module.tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and isinstance(node.value, ast.Dict | ast.List | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name) and not target.id.strip("_").isupper() and target.id != "__all__"
    ]
    assert held == []
