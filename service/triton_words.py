"""What Triton says where we say it in other words: for `compat = "triton"` (core/src/infer_request.cc, Triton 2.51)."""

from collections.abc import Iterable, Sequence

from engines.tensor import Array, Signature, TensorSpec, data_type_of
from service.types import InferRequest

_NOTE = (
    "NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be prepended to each "
    "input shape. If you want to specify the full shape including the batch dim in your input dims config, try setting "
    "max_batch_size to zero. See the model configuration docs for more info on max_batch_size."
)


def in_request(id: str, text: str) -> str:
    """What is wrong with one request."""
    return f"[request id: {id or '<id_unknown>'}] {text}"


def unknown_model(name: str, version: str = "") -> str:
    """Nothing has this name, or this version of it is not served."""
    return f"Request for unknown model: '{name}'{f' version {version}' if version else ''} is not found"


def not_loaded(name: str) -> str:
    """The model is known, but no version of it is open."""
    return f"Request for unknown model: '{name}' has no available versions"


def not_polled(name: str) -> str:
    """Nothing that could be loaded: no such model, or no configuration that can be read."""
    return f"failed to load '{name}', failed to poll from model repository"


def decoupled() -> str:
    """A model that gives any number of answers was asked for one."""
    return "ModelInfer RPC doesn't support models with decoupled transaction policy"


def without_start(model: str, sequence: int | str) -> str:
    """A request of a sequence that did not begin."""
    return (
        f"inference request for sequence {sequence} to model '{model}' must specify the START flag on the first "
        "request of the sequence"
    )


def not_opened(name: str, versions: Sequence[int], reason: str) -> str:
    """A model that was found could not be opened."""
    told = "".join(f"version {version} is at UNAVAILABLE state: {reason};\n" for version in versions)
    return f"load failed for model '{name}': {told}"


def unknown_input(request: InferRequest, name: str) -> str:
    """The model has no such input."""
    return f"unexpected inference input '{name}' for model '{request.model}'"


def unknown_output(request: InferRequest, name: str) -> str:
    """The model has no such output."""
    return f"unexpected inference output '{name}' for model '{request.model}'"


def count(request: InferRequest, signature: Signature) -> str:
    """Too few inputs, or too many. Triton lists what it got in the order of its hash table: the last first."""
    required = [spec.name for spec in signature.inputs if not spec.optional]
    most, least, found = len(signature.inputs), len(required), len(request.inputs)
    wanted = f"{most} inputs" if most == least else f"number of inputs between {least} and {most}"
    missing = [name for name in required if name not in request.inputs]
    return in_request(
        request.id,
        f"expected {wanted} but got {found} inputs for model '{request.model}'. Got input(s) "
        f"[{_quoted(reversed(request.inputs))}], but missing required input(s) "
        f"{f'[{_quoted(missing)}]' if missing else ']'}. Please provide all required input(s).",
    )


def no_inputs(request: InferRequest) -> str:
    """No input at all, where all of them are optional."""
    return in_request(request.id, "out of bounds index 0: request has 0 inputs")


def datatype(request: InferRequest, spec: TensorSpec, array: Array) -> str:
    """An input of another data type than the model's."""
    found = f"inference input '{spec.name}' data-type is '{data_type_of(array)}'"
    return in_request(request.id, f"{found}, but model '{request.model}' expects '{spec.datatype}'")


def shape(request: InferRequest, spec: TensorSpec, array: Array, max_batch_size: int) -> str:
    """An input of another shape than the model's; Triton looks at the batches first."""
    if max_batch_size and _differ(request):
        return rows_differ(request)
    wanted = [-1, *spec.shape] if max_batch_size else spec.shape
    found = f"unexpected shape for input '{spec.name}' for model '{request.model}'."
    text = f"{found} Expected {_dims(wanted)}, got {_dims(array.shape)}."
    return in_request(request.id, f"{text} {_NOTE}" if max_batch_size else text)


def given_twice(id: str, name: str) -> str:
    """An input that is there twice."""
    return in_request(id, f"input '{name}' already exists in request")


def raw_inputs(model: str, found: int) -> str:
    """A raw request to a model of several inputs."""
    text = f"Raw request must only have 1 input (found 1) to be deduced but got {found} inputs in '{model}'"
    return in_request("", f"{text} model configuration")


def rows_differ(request: InferRequest) -> str:
    """Inputs of different batches. Triton compares all with the last."""
    lengths = {name: array.shape[:1] for name, array in reversed(request.inputs.items())}
    last = next(iter(lengths.values()))
    odd = next(name for name, length in lengths.items() if length != last)
    return in_request(request.id, f"input '{odd}' batch size does not match other inputs for '{request.model}'")


def too_many_rows(request: InferRequest, max_batch_size: int) -> str:
    """A batch of none, or above max_batch_size; Triton looks for different batches first."""
    if _differ(request):
        return rows_differ(request)
    return in_request(request.id, f"inference request batch-size must be <= {max_batch_size} for '{request.model}'")


def _differ(request: InferRequest) -> bool:
    return len({array.shape[:1] for array in request.inputs.values()}) > 1


def _quoted(names: Iterable[str]) -> str:
    return ",".join(f"'{name}'" for name in names)


def _dims(shape: Sequence[int]) -> str:
    return f"[{','.join(map(str, shape))}]"
