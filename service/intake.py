"""Checking a request against its model's signature and cutting it into parts that can be batched apart."""

from dataclasses import dataclass
from typing import Protocol

from engines.tensor import Array, Signature, TensorSpec, data_type_of
from service import triton_words
from service.errors import InvalidRequestError
from service.generating import cannot_infer
from service.types import InferRequest, Job


class Intake(Protocol):
    """The door of one model. `signature`: what callers send and get."""

    @property
    def signature(self) -> Signature: ...

    def estimate(self, request: InferRequest) -> int:
        """About what `check` will find it costs, without work or errors: tokens for text, rows otherwise."""

    async def check(self, request: InferRequest) -> Job:
        """The checked job; raises `InvalidRequestError` naming the input, what was found and what is wanted."""


@dataclass(frozen=True, slots=True)
class TensorIntake:
    """Requests whose tensors go to the engine as they are: one part each."""

    signature: Signature

    def estimate(self, request: InferRequest) -> int:
        if not self.signature.max_batch_size:
            return 1
        return max((len(array) for array in request.inputs.values() if array.ndim), default=1)

    async def check(self, request: InferRequest) -> Job:
        rows = check_request(request, self.signature)
        return Job(request, (request.inputs,), (rows,), rows)


@dataclass(frozen=True, slots=True)
class TextOnlyIntake:
    """Of a model that only generates text, `name`: `model:version`."""

    signature: Signature
    name: str

    def estimate(self, request: InferRequest) -> int:
        return 1

    async def check(self, request: InferRequest) -> Job:
        """Says where to ask instead, whatever the request holds."""
        raise cannot_infer(self.name)


def check_request(request: InferRequest, signature: Signature) -> int:
    """Checks names, datatypes and shapes; returns the rows of the batch (1 where the model has no batch dimension).

    An input of dimensions [1] may leave them out: [n] is taken for [n, 1].
    """
    specs = {spec.name: spec for spec in signature.inputs}
    rows = 0
    for name, array in request.inputs.items():
        spec = specs.get(name)
        if spec is None:
            raise _unknown(request, name, signature)
        if signature.max_batch_size and spec.shape == (1,) and array.ndim == 1:
            array = request.inputs[name] = array.reshape(-1, 1)
        _check_tensor(request, array, spec, signature.max_batch_size)
        if signature.max_batch_size:
            rows = _same_rows(request, rows, len(array), name, signature.max_batch_size)
    _check_names(request, signature)
    return rows or 1


def _unknown(request: InferRequest, name: str, signature: Signature) -> InvalidRequestError:
    known = {spec.name for spec in signature.inputs}
    least = sum(not spec.optional for spec in signature.inputs)
    fits = least <= len(request.inputs) <= len(known)
    said = triton_words.unknown_input(request, name) if fits else triton_words.count(request, signature)
    text = f"unknown input {name!r}; the model takes {_names(signature.inputs)}"
    return InvalidRequestError(text, name).as_triton(said)


def _check_tensor(request: InferRequest, array: Array, spec: TensorSpec, max_batch_size: int) -> None:
    if array.dtype != spec.datatype.numpy:
        raise InvalidRequestError(
            f"input {spec.name!r} has datatype {data_type_of(array)}, the model takes {spec.datatype}", spec.name
        ).as_triton(triton_words.datatype(request, spec, array))
    found = array.shape[1:] if max_batch_size else array.shape
    if len(found) == len(spec.shape) and all(w in (-1, f) for w, f in zip(spec.shape, found, strict=True)):
        return
    wanted = [*([-1] if max_batch_size else []), *spec.shape]
    raise InvalidRequestError(
        f"input {spec.name!r} has shape {list(array.shape)}, the model takes {wanted} (-1 is any size)", spec.name
    ).as_triton(triton_words.shape(request, spec, array, max_batch_size))


def _same_rows(request: InferRequest, rows: int, found: int, name: str, most: int) -> int:
    if found == 0 or found > most:
        text = f"input {name!r} has a batch of {found}, the model takes 1 to {most}"
        raise InvalidRequestError(text, name).as_triton(triton_words.too_many_rows(request, most))
    if rows and rows != found:
        text = f"input {name!r} has a batch of {found}, the inputs before it {rows}"
        raise InvalidRequestError(text, name).as_triton(triton_words.rows_differ(request))
    return found


def _check_names(request: InferRequest, signature: Signature) -> None:
    for spec in signature.inputs:
        if not spec.optional and spec.name not in request.inputs:
            text = f"input {spec.name!r} is missing; found {sorted(request.inputs)}"
            raise InvalidRequestError(text, spec.name).as_triton(triton_words.count(request, signature))
    if signature.inputs and not request.inputs:
        text = f"no input is given; give at least one of {_names(signature.inputs)}"
        raise InvalidRequestError(text).as_triton(triton_words.no_inputs(request))
    known = {spec.name for spec in signature.outputs}
    for name in request.outputs:
        if name not in known:
            text = f"unknown output {name!r}; the model has {_names(signature.outputs)}"
            raise InvalidRequestError(text, name).as_triton(triton_words.unknown_output(request, name))


def _names(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(spec.name for spec in specs)
