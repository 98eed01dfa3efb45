"""The model repository that is served: identity models with faults, and the text encoder where it is built."""

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.chaos.questions import APART, DEADLY, FAULTS, PLAIN, STEADY, TEXT

ROOT = Path(__file__).parents[2]
ENCODER = "minilm_openvino"
WATCHDOG_MS = 1000
"""Long enough that a busy machine is no hang, short enough that ten of them fit into a run."""
STEADY_ROWS, STEADY_MS = 8, 20
"""Rows of a batch of the steady model and what it takes: its peak is 400 rows a second, far below the driver's."""
_MEMORY_ROWS = 6
"""The plain model's memory holds so many rows, fewer than its batches may have."""
_SHAPES: Mapping[str, str] = {
    "batchyard.text.max_tokens": "64",
    "batchyard.packing.widths": "64",
    "batchyard.packing.max_tokens": "256",
}
"""An engine that is killed fifty times is opened fifty times, which is mostly warming its shapes."""

BROKEN = 'name: "other"\nmax_batch_size: -1\nbackend: "no such engine"\n'
"""A config.pbtxt that no server can open."""


def write_repository(root: Path) -> tuple[str, ...]:
    """Writes the models under `root`; returns their names."""
    apart = {"batchyard.isolation": "process", "batchyard.watchdog_ms": WATCHDOG_MS, "batchyard.finite": "true"}
    tame = {f"batchyard.identity.{fault}": value for fault, value in FAULTS.items() if fault not in DEADLY}
    deadly = {f"batchyard.identity.{fault}": FAULTS[fault] for fault in DEADLY}
    small = {"batchyard.identity.memory_above_rows": _MEMORY_ROWS}
    delay = "batchyard.identity.delay_ms"
    _write(root, APART, 16, 2, {**apart, **tame, **deadly, delay: 2})
    _write(root, PLAIN, 16, 1, {**tame, **small, "batchyard.finite": "true", delay: 1})
    _write(root, STEADY, STEADY_ROWS, 1, {delay: STEADY_MS})
    names: tuple[str, ...] = (APART, PLAIN, STEADY)
    return (*names, TEXT) if _copy_encoder(root) else names


def _write(root: Path, name: str, rows: int, instances: int, parameters: Mapping[str, object]) -> None:
    folder = root / name
    (folder / "1").mkdir(parents=True)
    lines = [
        f'name: "{name}"',
        'backend: "identity"',
        f"max_batch_size: {rows}",
        'input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ -1 ] } ]',
        'output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ -1 ] } ]',
        "dynamic_batching { }",
        f"instance_group [ {{ count: {instances} kind: KIND_CPU }} ]",
        *_parameters(parameters.items()),
    ]
    (folder / "config.pbtxt").write_text("\n".join(lines) + "\n", "utf-8")


def _parameters(named: Iterable[tuple[str, object]]) -> list[str]:
    return [f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}' for key, value in named]


def _copy_encoder(root: Path) -> bool:
    """The shipped encoder under another name, with few shapes to warm, each instance in a process of its own."""
    source = ROOT / "model_repository" / ENCODER
    if not any(source.glob("1/[!.]*")):
        return False
    shutil.copytree(source, root / TEXT, copy_function=_link)
    config = root / TEXT / "config.pbtxt"
    text = config.read_text("utf-8").replace(f'name: "{ENCODER}"', f'name: "{TEXT}"')
    for name, value in _SHAPES.items():
        text, found = re.subn(rf'({re.escape(name)}" value \{{ string_value: ")[^"]*', rf"\g<1>{value}", text)
        assert found == 1, f"{ENCODER} has no parameter {name}"
    config.unlink()
    apart = _parameters([("batchyard.isolation", "process")])
    config.write_text("\n".join([text, *apart, ""]), "utf-8")
    return True


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)
