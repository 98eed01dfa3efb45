"""Fields of JSON as tensors, and back."""

import json
from math import prod

import numpy as np
import pytest

from engines.tensor import BYTES, FP32, INT32, Signature, TensorSpec
from service.api.v2_generate_tensors import decode_fields, encode_fields
from service.api.v2_request import Wanted, WantedOutput
from service.api.v2_response import encode_response
from service.errors import InvalidRequestError
from service.types import InferRequest, InferResponse


def decode(fields: object, *specs: TensorSpec, batch: int = 0) -> InferRequest:
    return decode_fields("model", "", json.dumps(fields).encode(), Signature(specs, (), batch))


@pytest.mark.parametrize(
    ("count", "dims", "batch", "shape"),
    [
        (1, (1,), 0, (1,)),
        (1, (-1,), 8, (1, 1)),
        (6, (-1,), 8, (1, 6)),
        (6, (2,), 8, (3, 2)),
        (6, (-1, 3), 0, (2, 3)),
        (6, (-1, 3, -1), 0, (1, 3, 2)),
        (6, (2, 3), 0, (2, 3)),
        (0, (-1,), 0, (0,)),
        (6, (4,), 0, None),
        (6, (2,), 0, None),
        (0, (1,), 0, None),
    ],
)
def test_the_last_open_dimension_takes_what_is_left(
    count: int, dims: tuple[int, ...], batch: int, shape: tuple[int, ...] | None
) -> None:
    fields = {"a": list(range(count))}
    spec = TensorSpec("a", INT32, dims)
    if shape is None:
        with pytest.raises(InvalidRequestError, match=f"input 'a' has {count} values") as caught:
            decode(fields, spec, batch=batch)
        assert caught.value.triton == "The schema can not convert input 'a' to tensor with proper shape"
        return
    array = decode(fields, spec, batch=batch).inputs["a"]
    assert (array.shape, prod(shape)) == (shape, count)
    assert array.ravel().tolist() == list(range(count))


def test_text_scalars_and_numbers() -> None:
    request = decode({"text": "ü", "x": "NaN"}, TensorSpec("text", BYTES, (1,)), TensorSpec("x", FP32, (1,)))
    assert request.inputs["text"].tolist() == ["ü".encode()]
    assert np.isnan(request.inputs["x"][0])


def test_a_model_with_an_input_that_is_called_parameters() -> None:
    spec = TensorSpec("parameters", INT32, (1,))
    with pytest.raises(InvalidRequestError, match="ask /infer"):
        decode({"parameters": 1}, spec)


def test_fields_of_an_answer_stand_in_order() -> None:
    outputs = {"z": np.array([1, 2], np.int32), "a": np.array([[3]], np.int32), "m": np.array([b"x"], object)}
    answer = InferResponse("model", "2", outputs, parameters={"b": True})
    assert encode_fields(answer, "7") == (
        b'{"a":3,"b":true,"id":"7","m":"x","model_name":"model","model_version":"2","z":[1,2]}'
    )


def test_parameters_of_an_answer_are_told_by_infer_too() -> None:
    answer = InferResponse("model", "1", {"a": np.array([1], np.int32)}, parameters={"b": 2, "c": "d"})
    reply = encode_response(answer, "", Wanted({}, WantedOutput(binary=False)))
    assert json.loads(reply.body)["parameters"] == {"b": 2, "c": "d"}
    bare = encode_response(InferResponse("model", "1", {}), "", Wanted({}, WantedOutput(binary=False)))
    assert "parameters" not in json.loads(bare.body)
