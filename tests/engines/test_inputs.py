import re

import numpy as np
import pytest

from engines.batch import Batch
from engines.errors import InvalidInputError
from engines.inputs import check_inputs
from engines.tensor import BYTES, FP32, Array, Signature, TensorSpec

SPECS = (TensorSpec("x", FP32, (-1, 2)), TensorSpec("words", BYTES, (1,), optional=True))
BATCHED = Signature(SPECS, (), 8)
SINGLE = Signature(SPECS, (), 0)


def floats(*shape: int) -> Array:
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    ("signature", "inputs", "size"),
    [
        (BATCHED, {"x": floats(3, 7, 2)}, 3),
        (BATCHED, {"x": floats(1, 0, 2), "words": np.array([[b""]], object)}, 1),
        (SINGLE, {"x": floats(7, 2)}, 1),
    ],
)
def test_fitting_batches_pass(signature: Signature, inputs: dict[str, Array], size: int) -> None:
    check_inputs(Batch(inputs, size), signature)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "input 'x' is missing; found none"),
        ({"y": floats(3, 7, 2)}, "input 'x' is missing; found 'y'"),
        ({"x": floats(3, 7, 2), "y": floats(1)}, "input 'y' is unknown; the model takes 'x', 'words'"),
        ({"x": floats(3, 7, 2).astype(np.float16)}, "input 'x' has numpy dtype float16, wanted FP32"),
        ({"x": floats(3, 7, 3)}, "input 'x' has shape [3, 7, 3], wanted [3, -1, 2]"),
        ({"x": floats(2, 7, 2)}, "input 'x' has shape [2, 7, 2], wanted [3, -1, 2]"),
        ({"x": floats(3, 2)}, "input 'x' has shape [3, 2], wanted [3, -1, 2]"),
    ],
)
def test_other_batches_are_refused(inputs: dict[str, Array], message: str) -> None:
    with pytest.raises(InvalidInputError, match=re.escape(message)):
        check_inputs(Batch(inputs, 3), BATCHED)
