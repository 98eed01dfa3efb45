"""Triton's classification extension: the top classes of an output instead of its values."""

import numpy as np

from engines.tensor import BYTES, Array, element_count
from service.errors import InvalidRequestError


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
