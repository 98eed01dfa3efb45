"""config.pbtxt of each model in `models`."""

from collections.abc import Mapping

_PYTHON = 'backend: "python"\ninstance_group [ { kind: KIND_CPU } ]\n'
_DECOUPLED = "model_transaction_policy { decoupled: true }\n"


def _tensor(role: str, name: str, data_type: str, dims: str, more: str = "") -> str:
    return f'{role} {{ name: "{name}" data_type: TYPE_{data_type} dims: [ {dims} ] {more} }}\n'


CONFIGS: Mapping[str, str] = {
    "arithmetic": _PYTHON
    + "max_batch_size: 8\n"
    + _tensor("input", "X", "FP32", "-1")
    + _tensor("input", "WHAT", "STRING", "1", "optional: true")
    + _tensor("output", "Y", "FP32", "-1")
    + _tensor("output", "TEXT", "STRING", "-1"),
    "fields": _PYTHON
    + _tensor("input", "X", "INT32", "-1")
    + _tensor("output", "FIELDS", "STRING", "1")
    + _tensor("output", "OTHER", "INT32", "1"),
    "stream": _PYTHON
    + _DECOUPLED
    + _tensor("input", "N", "INT32", "1")
    + _tensor("input", "HOW", "STRING", "1")
    + _tensor("output", "Y", "INT32", "1"),
    "stream_async": _PYTHON + _DECOUPLED + _tensor("input", "N", "INT32", "1") + _tensor("output", "Y", "INT32", "1"),
    "ask": _PYTHON
    + _tensor("input", "MODEL", "STRING", "1")
    + _tensor("input", "X", "FP32", "-1")
    + _tensor("output", "TEXT", "STRING", "-1"),
    "ask_async": _PYTHON + _tensor("input", "X", "FP32", "-1") + _tensor("output", "TEXT", "STRING", "-1"),
    "life": _PYTHON + _tensor("input", "X", "FP32", "-1") + _tensor("output", "Y", "FP32", "-1"),
    "counting": _PYTHON + _tensor("input", "X", "FP32", "1") + _tensor("output", "Y", "FP32", "1"),
    "completing": _PYTHON,
}
