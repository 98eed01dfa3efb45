"""One model under test: how to open it, requests for it, and what it must answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines.base import EngineOptions
from engines.batch import Layout, Packed, Placement, Stacked
from engines.config.pbtxt import parse
from engines.tensor import Array, Tensors

Reference = Callable[[Tensors], Mapping[str, Array]]
"""One request to its answer, FP32 or better."""
MakeLayout = Callable[[Sequence[Tensors]], Layout]


@dataclass(frozen=True)
class Subject:
    """`requests`: one row each. `layout`: how this model's batches are laid out."""

    options: EngineOptions
    requests: tuple[Tensors, ...]
    reference: Reference
    layout: MakeLayout


@dataclass(frozen=True)
class Case:
    """`package`: the SDK without which the case is skipped, "" for none. `build` writes the model into a folder."""

    name: str
    package: str
    build: Callable[[Path], Subject]


def options(folder: Path, text: str) -> EngineOptions:
    """Opens config.pbtxt `text` on version 1 in `folder`."""
    (folder / "1").mkdir(parents=True, exist_ok=True)
    return EngineOptions(parse(text, source="config.pbtxt", folder=folder), folder / "1")


def parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "batchyard.{key}" value {{ string_value: "{value}" }} }}\n'


def tensor(kind: str, name: str, datatype: str, *dims: int, extra: str = "") -> str:
    return f'{kind} {{ name: "{name}" data_type: TYPE_{datatype} dims: {list(dims)} {extra} }}\n'


def stacked(requests: Sequence[Tensors]) -> Stacked:
    return Stacked((1,) * len(requests))


def packed(width: int) -> MakeLayout:
    """Texts one after the other into rows of `width` tokens, the last of them not full."""

    def lay_out(requests: Sequence[Tensors]) -> Packed:
        placements: list[Placement] = []
        row, start, segment = 0, 0, 0
        for request in requests:
            tokens = len(request["input_ids"])
            if start + tokens > width or segment == width // 4:
                row, start, segment = row + 1, 0, 0
            placements.append(Placement(row, start, segment))
            start, segment = start + tokens, segment + 1
        return Packed(row + 1, width, tuple(placements))

    return lay_out


def assert_close(actual: Tensors, expected: Mapping[str, Array], tolerance: float) -> None:
    """Integers and BYTES are equal; `embedding` has a cosine of at least `tolerance`; other floats agree to 1e-4."""
    assert actual.keys() == expected.keys()
    for name, wanted in expected.items():
        found = actual[name]
        assert found.shape == wanted.shape, name
        if name == "embedding":
            assert np.abs(np.linalg.norm(found, axis=-1) - 1).max() < 1e-3
            assert (found * wanted).sum(axis=-1).min() >= tolerance, name
        elif np.issubdtype(wanted.dtype, np.floating):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5, err_msg=name)
        else:
            assert found.tolist() == wanted.tolist(), name
