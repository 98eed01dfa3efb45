"""Parameters of gRPC's infer requests and outputs: each is sent as a certain kind."""

from collections.abc import Mapping

from tritonclient.grpc.service_pb2 import InferParameter

from engines.calls import Parameter
from service.errors import InvalidRequestError

_ANY = ("int64_param", "bool_param", "string_param", "double_param")
_WHOLE, _FLAG = ("int64_param",), ("bool_param",)
_EMPTY_END = "triton_enable_empty_final_response"
_KINDS: Mapping[str, tuple[str, ...]] = {
    "sequence_id": ("int64_param", "string_param"),
    "sequence_start": _FLAG,
    "sequence_end": _FLAG,
    "priority": ("int64_param", "uint64_param"),
    "timeout": _WHOLE,
    _EMPTY_END: _FLAG,
}
"""Parameters that the protocol gives a meaning -> how they may be sent."""


def read_parameters(given: Mapping[str, InferParameter]) -> dict[str, Parameter]:
    """The parameters of a request by name; raises `InvalidRequestError`."""
    return {name: _read(name, parameter) for name, parameter in given.items()}


def _read(name: str, parameter: InferParameter) -> Parameter:
    kind = parameter.WhichOneof("parameter_choice")
    wanted = _KINDS.get(name, _ANY)
    if kind not in wanted:
        text = f"parameter {name!r} is sent as {kind or 'nothing'}; send it as {' or '.join(wanted)}"
        raise InvalidRequestError(text, name).as_triton(_kind_words(name, wanted))
    if name.startswith("triton_") and name != _EMPTY_END:
        text = f"parameter {name!r}: names that begin with 'triton_' are reserved; rename it"
        raise InvalidRequestError(text, name).as_triton(
            "parameter keys starting with 'triton_' are reserved for Triton usage. Only the following keys starting "
            f"with 'triton_' are allowed: {_EMPTY_END}"
        )
    value: Parameter = getattr(parameter, kind)
    if name == "priority" and value < 0:  # type: ignore[operator]
        said = "invalid value for 'priority', expected value >= 0."
        raise InvalidRequestError(f"parameter 'priority' is {value}; it must be 0 or more", name).as_triton(said)
    return value


def _kind_words(name: str, wanted: tuple[str, ...]) -> str:
    shown = "int64_param, bool_param, or string_param" if wanted is _ANY else " or ".join(wanted)
    return f"invalid value type for '{name}' parameter, expected {shown}."


def read_classes(given: Mapping[str, InferParameter]) -> int:
    """How many classes of an output are wanted in place of its values, 0: the values. Raises `InvalidRequestError`."""
    name = "classification"
    if name not in given:
        return 0
    parameter = given[name]
    if parameter.WhichOneof("parameter_choice") not in _WHOLE:
        said = f"invalid value type for '{name}' parameter, expected int64_param"
        raise InvalidRequestError(f"parameter {name!r} is sent as int64_param only", name).as_triton(said)
    count = parameter.int64_param
    if count <= 0:
        said = f"invalid value for '{name}' parameter, expected >= 0"
        raise InvalidRequestError(f"parameter {name!r} is {count}; it must be 1 or more", name).as_triton(said)
    return count


def check_version(version: str) -> None:
    """Raises `InvalidRequestError` where it is neither empty nor a whole number."""
    if version and not version.isdecimal():
        said = (
            f"failed to get model version from specified version string '{version}' (details: stol), "
            "version should be an integral value > 0"
        )
        text = f"model version {version!r} must be a whole number, or empty for the newest"
        raise InvalidRequestError(text, "model_version").as_triton(said)
