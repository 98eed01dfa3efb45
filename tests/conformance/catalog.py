"""The models of the conformance repository: their names, configurations and where their code is."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.conformance import graphs

TYPES = ("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64")
"""Those that numpy knows; the string type is the thirteenth."""


@dataclass(frozen=True, slots=True)
class Model:
    """`config`: its config.pbtxt without name and backend. `source`: its code in the folder `models`, none for an
    ensemble. `graph`: writes the same as an ONNX file's bytes, where that can be. `versions`: all alike.
    """

    name: str
    config: str
    source: str | None
    graph: Callable[[], bytes] | None = None
    versions: tuple[str, ...] = ("1",)


def _tensors(kind: str, data_type: str, dims: str, *names: str, more: str = "") -> str:
    each = [f'{kind} {{ name: "{name}" data_type: TYPE_{data_type} dims: [ {dims} ] {more}}}' for name in names]
    return "\n".join(each) + "\n"


def _inputs(data_type: str, dims: str, *names: str, more: str = "") -> str:
    return _tensors("input", data_type, dims, *names, more=more)


def _outputs(data_type: str, dims: str, *names: str, more: str = "") -> str:
    return _tensors("output", data_type, dims, *names, more=more)


def _pair(data_type: str) -> str:
    return _inputs(data_type, "16", "INPUT0", "INPUT1") + _outputs(data_type, "16", "OUTPUT0", "OUTPUT1")


def _same(data_type: str, dims: str) -> str:
    return _inputs(data_type, dims, "INPUT0") + _outputs(data_type, dims, "OUTPUT0")


def _flag(name: str) -> str:
    kind = f"CONTROL_SEQUENCE_{name}"
    return f'  control_input {{ name: "{name}" control {{ kind: {kind} int32_false_true: [ 0, 1 ] }} }}\n'


_ID = '  control_input { name: "CORRID" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } }\n'


def _sequence(strategy: str, *controls: str) -> str:
    batching = f"  max_sequence_idle_microseconds: 10000000\n  {strategy}\n{''.join(controls)}"
    return f"sequence_batching {{\n{batching}}}\n" + _inputs("INT32", "1", "INPUT") + _outputs("INT32", "1", "OUTPUT")


def _parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'


def _step(model: str, inputs: str, outputs: str) -> str:
    maps = [
        (kind, *pair.split("=")) for kind, pairs in (("input", inputs), ("output", outputs)) for pair in pairs.split()
    ]
    lines = [f'    {kind}_map {{ key: "{key}" value: "{value}" }}\n' for kind, key, value in maps]
    return f'  step {{\n    model_name: "{model}" model_version: -1\n{"".join(lines)}  }}\n'


_EIGHT = "max_batch_size: 8\n"
_BATCHED = f"{_EIGHT}dynamic_batching {{ }}\n"
_OLDEST = "oldest { max_candidate_sequences: 1024 max_queue_delay_microseconds: 10000 }"
_ENSEMBLE = (
    "ensemble_scheduling {\n"
    + _step("simple", "INPUT0=INPUT0 INPUT1=INPUT1", "OUTPUT0=total OUTPUT1=difference")
    + _step("simple", "INPUT0=total INPUT1=difference", "OUTPUT0=OUTPUT0 OUTPUT1=OUTPUT1")
    + "}\n"
)
_REPEAT = (
    "model_transaction_policy { decoupled: true }\n"
    + _inputs("INT32", "-1", "IN")
    + _inputs("UINT32", "-1", "DELAY")
    + _inputs("UINT32", "1", "WAIT")
    + _outputs("INT32", "1", "OUT")
    + _outputs("UINT32", "1", "IDX")
)
_TYPES = "".join(
    _inputs(kind, "-1", f"INPUT_{kind}", more="optional: true ") + _outputs(kind, "-1", f"OUTPUT_{kind}")
    for kind in (*TYPES, "STRING")
)
_WARMUP = 'key: "INPUT0" value { data_type: TYPE_INT32 dims: [ 1 ] zero_data: true }'
_RESHAPE = (
    _inputs("INT32", "1", "INPUT0", more="reshape { shape: [ ] } ")
    + _outputs("INT32", "1", "OUTPUT0", more="reshape { shape: [ ] } ")
    + f'model_warmup {{ name: "zeros" batch_size: 1 inputs {{ {_WARMUP} }} }}\n'
)
_OPTIONAL = _inputs("FP32", "1", "INPUT0", "INPUT1", more="optional: true ") + _outputs(
    "FP32", "1", "OUTPUT0", "OUTPUT1"
)

MODELS = (
    Model("simple", _BATCHED + _pair("INT32"), "add_sub", graphs.add_sub_int32),
    Model("simple_int8", _EIGHT + _pair("INT8"), "add_sub", graphs.add_sub_int8),
    Model("simple_string", _EIGHT + _pair("STRING"), "add_sub", graphs.add_sub_string),
    Model("simple_identity", _EIGHT + _same("STRING", "-1"), "identity", graphs.identity_string),
    Model("simple_sequence", _EIGHT + _sequence("direct { }", _flag("START"), _flag("READY")), "sequence"),
    Model(
        "simple_dyna_sequence",
        _EIGHT + _sequence(_OLDEST, _flag("START"), _flag("END"), _flag("READY"), _ID),
        "sequence",
    ),
    Model(
        "simple_string_dyna_sequence",
        _EIGHT
        + _sequence(_OLDEST, _flag("START"), _flag("END"), _flag("READY"))
        + _parameter("add_correlation_id", "true"),
        "accumulate",
    ),
    Model(
        "accumulate",
        _EIGHT + _sequence("direct { }", _flag("START"), _flag("END"), _flag("READY")),
        "accumulate",
    ),
    Model("repeat_int32", _REPEAT, "repeat"),
    Model(
        "custom_identity_int32",
        "max_batch_size: 1024\n" + _same("INT32", "-1") + _parameter("execute_delay_ms", "200"),
        "identity",
    ),
    Model("identity_fp32", _BATCHED + _same("FP32", "-1"), "identity", graphs.identity_fp32),
    Model("identity_uint8_nobatch", _same("UINT8", "-1"), "identity", graphs.identity_uint8),
    Model("identity_reshape", _BATCHED + _RESHAPE, "identity", graphs.identity_vector),
    Model(
        "identity_versions",
        _BATCHED + _same("INT32", "1") + "version_policy { latest { num_versions: 2 } }\n",
        "identity",
        versions=("1", "2", "3"),
    ),
    Model("identity_types", _TYPES, "optional_identity"),
    Model("nan_inf_output", _inputs("FP32", "-1", "INPUT0") + _outputs("FP32", "6", "OUTPUT0"), "nan_inf"),
    Model("optional_identity", "max_batch_size: 4\n" + _OPTIONAL, "optional_identity"),
    Model("execute_error", _BATCHED + _same("INT32", "1"), "faults"),
    Model("request_fields", _inputs("INT32", "1", "INPUT0") + _outputs("STRING", "1", "FIELDS"), "request_fields"),
    Model("ensemble_simple", _EIGHT + _pair("INT32") + _ENSEMBLE, None),
    Model("bls_simple", _EIGHT + _pair("INT32"), "bls"),
    Model("bls_async_simple", _EIGHT + _pair("INT8"), "bls_async"),
)
"""`simple*`, `repeat_int32` and `custom_identity_int32` are those that Triton's client examples ask for."""
