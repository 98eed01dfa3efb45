"""Whether a CUDA device is there, and why not, for the tests that need one."""

from pathlib import Path

import pytest

from engines.base import EngineOptions
from engines.config.pbtxt import parse
from engines.errors import MissingBackendError
from engines.model_config import Packing
from engines.tensorrt_cuda import missing_device
from tests.engines.tiny_encoder import HIDDEN

PACKING = Packing((16, 32), 64)


def why_not() -> str:
    try:
        return missing_device()
    except MissingBackendError as error:
        return str(error)


NEEDS_GPU = [pytest.mark.gpu, pytest.mark.skipif(bool(why_not()), reason=f"needs a CUDA device: {why_not()}")]


def plan_options(folder: Path, extra: str = "", packing: Packing = PACKING) -> EngineOptions:
    """Options for a packed plan of the tiny encoder in `folder`/1."""
    (folder / "1").mkdir(exist_ok=True)
    inputs = "".join(
        f'input {{ name: "{name}" data_type: TYPE_INT64 dims: [ -1 ] }}\n'
        for name in ("input_ids", "position_ids", "segment_ids")
    )
    text = (
        f'platform: "tensorrt_plan"\nmax_batch_size: 4\n{inputs}'
        f'output {{ name: "embedding" data_type: TYPE_FP32 dims: [ -1, {HIDDEN} ] }}\n'
        + parameter("packing.widths", ",".join(map(str, packing.widths)))
        + parameter("packing.max_tokens", str(packing.max_tokens))
        + extra
    )
    return EngineOptions(parse(text, source="config.pbtxt", folder=folder), folder / "1")


def parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "batchyard.{key}" value {{ string_value: "{value}" }} }}\n'
