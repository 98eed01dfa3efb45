"""No file and no request is ever run: nothing unpickles, evaluates or builds objects that the data names."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("engines", "service", "benchmarks")
MODULES = frozenset(
    {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "jsonpickle"}
)
CALLS = frozenset(
    {
        "eval",
        "exec",
        "compile",
        "torch.load",
        "torch.jit.load",
        "torch.export.load",
        "torch.package.PackageImporter",
        "yaml.load",
        "yaml.unsafe_load",
        "yaml.full_load",
        "os.system",
        "os.popen",
    }
)
NUMPY = frozenset({"np.load", "numpy.load"})
RUNS_MODELS = "engines/python_backend/inside/"
"""Triton's model.py is code: it runs there, in a process of its own, and nowhere else."""


def faults(source: str) -> Iterator[str]:
    """What a file does that it must not."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (f"imports {alias.name}" for alias in node.names if _module(alias.name) in MODULES)
        elif isinstance(node, ast.ImportFrom) and _module(node.module or "") in MODULES:
            yield f"imports from {node.module}"
        elif isinstance(node, ast.Call):
            yield from _call_faults(node)
        elif isinstance(node, ast.keyword) and _is_true(node) and node.arg in ("allow_pickle", "trust_remote_code"):
            yield f"{node.arg}=True"


def _call_faults(node: ast.Call) -> Iterator[str]:
    name = ast.unparse(node.func)
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    if name in CALLS and not (name == "torch.load" and ast.unparse(given.get("weights_only", node)) == "True"):
        yield f"calls {name}"
    if name in NUMPY and ast.unparse(given.get("allow_pickle", node)) != "False":
        yield f"calls {name} without allow_pickle=False"
    if name.endswith(".from_pretrained") and ast.unparse(given.get("trust_remote_code", node)) != "False":
        yield f"calls {name} without trust_remote_code=False"
    if name.endswith("subprocess.Popen") and "shell" in given:
        yield "runs a shell"


def _module(name: str) -> str:
    return name.partition(".")[0]


def _is_true(node: ast.keyword) -> bool:
    return isinstance(node.value, ast.Constant) and node.value.value is True


def files() -> list[Path]:
    return [path for part in PARTS for path in sorted((ROOT / part).rglob("*.py"))]


def test_nothing_does() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): told for path in files() if (told := list(faults(path.read_text("utf-8"))))
    }
    assert {path: told for path, told in found.items() if not path.startswith(RUNS_MODELS)} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import dill.source",
        "from marshal import loads",
        "eval(x)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.jit.load(path)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text)",
        "AutoModel.from_pretrained(folder)",
        "AutoModel.from_pretrained(folder, trust_remote_code=True)",
        "subprocess.Popen(command, shell=True)",
    ],
)
def test_it_would_be_seen(source: str) -> None:
    assert list(faults(source))


@pytest.mark.parametrize(
    "source", ["model.eval()", "re.compile(x)", "torch.load(path, weights_only=True)", "np.load(p, allow_pickle=False)"]
)
def test_what_is_harmless_is_not(source: str) -> None:
    assert not list(faults(source))
