"""Values inside messages of the v2 gRPC protocol: where a tensor's elements lie, and how a parameter is written."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from engines.calls import Parameter

CONTENTS: Mapping[str, str] = MappingProxyType(
    {
        "BOOL": "bool_contents",
        "INT8": "int_contents",
        "INT16": "int_contents",
        "INT32": "int_contents",
        "INT64": "int64_contents",
        "UINT8": "uint_contents",
        "UINT16": "uint_contents",
        "UINT32": "uint_contents",
        "UINT64": "uint64_contents",
        "FP32": "fp32_contents",
        "FP64": "fp64_contents",
        "BYTES": "bytes_contents",
    }
)
"""Data type -> the typed list that holds its elements; the others have none."""


def set_parameter(message: Any, value: Parameter) -> None:
    """Writes a value into an InferParameter as the kind that it is; raises `ValueError` where it is too large."""
    match value:
        case bool():
            message.bool_param = value
        case int() if value >= 2**63:
            message.uint64_param = value
        case int():
            message.int64_param = value
        case float():
            message.double_param = value
        case str():
            message.string_param = value
