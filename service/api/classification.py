"""Triton's classification extension: the top classes of an output instead of its values."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from engines.tensor import BYTES, Array, Signature, element_count
from service.errors import InvalidRequestError
from service.types import InferResponse

Classes = Mapping[str, int]
"""Output -> how many classes of it are wanted in place of its values."""
NO_CLASSES: Classes = MappingProxyType({})


def classify_outputs(response: InferResponse, classes: Classes, signature: Signature) -> None:
    """Puts classes in place of the values of those outputs; `signature` has labels and batching."""
    for name, count in classes.items():
        array = output_of(response, name)
        labels = next((spec.labels for spec in signature.outputs if spec.name == name), ())
        response.outputs[name] = classify(array, name, count, labels, signature.max_batch_size > 0)


def output_of(response: InferResponse, name: str) -> Array:
    """Raises `InvalidRequestError` where the answer has no such output."""
    array = response.outputs.get(name)
    if array is None:
        known = ", ".join(response.outputs)
        raise InvalidRequestError(f"model {response.model!r} has no output {name!r}; it has {known}", name)
    return array


def classify(array: Array, name: str, classes: int, labels: tuple[str, ...], batched: bool) -> Array:
    """The `classes` highest values of each row as BYTES "value:index[:label]", highest first.

    [n, ...] becomes [n, k] where `batched`, else all of the array is one row and [k] comes back; k is `classes`, or
    fewer where a row has fewer. Raises `InvalidRequestError` for a BYTES or BOOL output.
    """
    if array.dtype.kind not in "iuf":
        raise InvalidRequestError(
            f"output {name!r}: classification needs numbers; ask for it without the parameter 'classification'", name
        )
    rows = array.reshape(len(array) if batched else 1, element_count(array.shape[1:] if batched else array.shape))
    count = min(classes, rows.shape[1])
    best = np.argsort(-_ranked(rows), axis=1, kind="stable")[:, :count]
    answer = np.empty(best.shape, BYTES.numpy)
    for row, (values, indices) in enumerate(zip(rows, best, strict=True)):
        for column, index in enumerate(indices.tolist()):
            label = f":{labels[index]}" if index < len(labels) else ""
            answer[row, column] = f"{values[index]}:{index}{label}".encode()
    return answer if batched else answer[0]


def _ranked(rows: Array) -> Array:
    """Values that sort like `rows`, with NaN below everything else, and that can be negated."""
    if rows.dtype.kind == "f":
        return np.where(np.isnan(rows), -np.inf, rows)
    return rows.astype(np.float64) if rows.dtype.itemsize < 8 else rows.astype(object)
