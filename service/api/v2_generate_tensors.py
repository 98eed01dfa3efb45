"""Triton's generate extension for models that take and give tensors: fields of JSON by the tensors' names."""

from collections.abc import Callable, Mapping, Sequence

import msgspec
import orjson

from engines.calls import Parameter
from engines.tensor import Array, Signature, TensorSpec
from service.api.json_faults import decode_json
from service.api.json_tensors import decode_data, encode_data, quoted
from service.errors import InvalidRequestError
from service.types import InferRequest, InferResponse

_PARAMETERS = "parameters"
_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_parameter: Callable[[msgspec.Raw], Parameter] = msgspec.json.Decoder(Parameter).decode


def decode_fields(model: str, version: str, body: bytes, signature: Signature) -> InferRequest:
    """The request in `body`: fields with the names of inputs are these, `id` is the request's id, the rest are
    parameters, which may also stand under `parameters`. Raises `InvalidRequestError`."""
    fields = decode_json(_decode, body)
    specs = {spec.name: spec for spec in signature.inputs}
    inner: Mapping[str, msgspec.Raw] = {}
    if _PARAMETERS in fields:
        if _PARAMETERS in specs:
            said = f"Keyword '{_PARAMETERS}' for nested schema also given as input tensor name"
            raise InvalidRequestError(f"model {model!r} has an input {_PARAMETERS!r}; ask /infer").as_triton(said)
        inner = decode_json(_decode, bytes(fields.pop(_PARAMETERS)))
    request = InferRequest(model, {}, version)
    parameters: dict[str, Parameter] = {}
    for name, value in (*fields.items(), *inner.items()):
        if name in specs:
            request.inputs[name] = _tensor(value, specs[name], signature.max_batch_size > 0)
        elif name == "id" and name in fields:
            request.id = _id(value)
        else:
            parameters[name] = _parameter(name, value)
    request.parameters = parameters
    return request


def _id(value: msgspec.Raw) -> str:
    try:
        return str(msgspec.json.decode(value, type=str | int))
    except msgspec.ValidationError as error:
        raise InvalidRequestError(f"id is not right: {error}", "id") from None


def _parameter(name: str, value: msgspec.Raw) -> Parameter:
    try:
        return _decode_parameter(value)
    except msgspec.DecodeError:
        said = f"parameter '{name}' has invalid type. It should be either 'int', 'bool', or 'string'."
        text = f"{name!r} is no input of the model, and as a parameter it must be a number, a string, true or false"
        raise InvalidRequestError(text, name).as_triton(said) from None


def _tensor(value: msgspec.Raw, spec: TensorSpec, batched: bool) -> Array:
    """A scalar, or a flat list."""
    text = bytes(value)
    if not text.startswith(b"["):
        text = b"[%b]" % text
    values = msgspec.json.decode(text, type=list[msgspec.Raw])
    wanted = [-1, *spec.shape] if batched else list(spec.shape)
    shape = _shape(len(values), wanted)
    if shape is None or any(bytes(one).startswith(b"[") for one in values):
        said = f"The schema can not convert input '{spec.name}' to tensor with proper shape"
        text_ = f"input {spec.name!r} has {len(values)} values, which cannot have shape {wanted}; send a flat list"
        raise InvalidRequestError(text_, spec.name).as_triton(said)
    return decode_data(msgspec.Raw(text), spec.name, spec.datatype, shape)


def _shape(count: int, wanted: Sequence[int]) -> list[int] | None:
    """`wanted`, its last open dimension as large as `count` values need, the other open ones 1; None: none fits."""
    for size in wanted:
        if size != -1:
            if size == 0 or count % size:
                return None
            count //= size
    shape = list(wanted)
    for index in reversed(range(len(shape))):
        if shape[index] == -1:
            shape[index], count = count, 1
    return shape if count == 1 else None


def encode_fields(response: InferResponse, request_id: str) -> bytes:
    """The answer: outputs by their names, a single value without a list; parameters of the model beside them."""
    fields: dict[str, object] = {
        "model_name": response.model,
        "model_version": response.version,
        **response.parameters,
        **{name: _field(array, name) for name, array in response.outputs.items()},
    }
    if request_id:
        fields["id"] = request_id
    return orjson.dumps(dict(sorted(fields.items())))


def _field(array: Array, name: str) -> orjson.Fragment:
    flat = encode_data(array, name, quoted)
    return orjson.Fragment(orjson.dumps(flat)[1:-1]) if array.size == 1 else flat
