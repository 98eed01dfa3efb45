"""The codecs alone, with any tensor that hypothesis thinks of."""

import json
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from engines.tensor import BYTES, DATA_TYPES, DataType, encode_raw
from service.api.classification import classify
from service.api.json_tensors import decode_data, encode_data, quoted
from service.api.openai_chat import understand_chat
from service.api.openai_chat_messages import ChatRequest
from service.api.openai_input import decode_input
from service.api.openai_messages import decode_embeddings
from service.api.openai_tensors import shorten
from service.api.v2_request import decode_binary, decode_request
from service.api.v2_response import encode_response
from service.errors import InvalidRequestError
from service.types import InferResponse

SHAPES = st_numpy.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@st.composite
def tensors(draw: st.DrawFn, text: bool = False) -> tuple[DataType, np.ndarray[Any, Any]]:
    datatype = draw(st.sampled_from(list(DATA_TYPES.values())))
    shape = draw(SHAPES)
    if datatype is not BYTES:
        return datatype, draw(st_numpy.arrays(datatype.numpy, shape))
    content = st.text().map(str.encode) if text else st.binary()
    return datatype, draw(st_numpy.arrays(object, shape, elements=content))


def as_json(array: np.ndarray[Any, Any], name: str = "x") -> bytes:
    encoded = msgspec.Raw(bytes(_fragment(array, name)))
    json.loads(bytes(encoded), parse_constant=pytest.fail)
    return bytes(encoded)


def _fragment(array: np.ndarray[Any, Any], name: str) -> bytes:
    response = InferResponse("m", "1", {name: array})
    _, wanted = decode_request("m", "", b'{"inputs":[]}', None)
    return bytes(msgspec.json.decode(encode_response(response, "", wanted).body, type=_Answer).outputs[0].data)


class _Output(msgspec.Struct):
    data: msgspec.Raw


class _Answer(msgspec.Struct):
    outputs: list[_Output]


@given(tensors(text=True))
def test_json_round_trip(given_tensor: tuple[DataType, np.ndarray[Any, Any]]) -> None:
    datatype, array = given_tensor
    decoded = decode_data(msgspec.Raw(as_json(array)), "x", datatype, array.shape)
    np.testing.assert_array_equal(decoded, array)
    assert decoded.dtype == array.dtype


@given(tensors(), st.integers(0, 7))
def test_binary_round_trip(given_tensor: tuple[DataType, np.ndarray[Any, Any]], offset: int) -> None:
    datatype, array = given_tensor
    buffer = memoryview(bytes(offset) + encode_raw(array))[offset:]
    decoded = decode_binary(buffer, datatype, list(array.shape))
    np.testing.assert_array_equal(decoded, array)
    assert decoded.flags.aligned


@given(st_numpy.arrays(np.float32, st_numpy.array_shapes(min_dims=2, max_dims=3)))
def test_strided_tensors_are_written_row_by_row(array: np.ndarray[Any, Any]) -> None:
    assert as_json(array.T) == as_json(np.ascontiguousarray(array.T))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
TENSOR = st.fixed_dictionaries(
    {
        "name": st.text(),
        "shape": st.lists(st.integers(), max_size=4) | JSON,
        "datatype": st.sampled_from(list(DATA_TYPES)),
    },
    optional={"data": JSON, "parameters": JSON},
)


@given(
    st.fixed_dictionaries(
        {"inputs": st.lists(TENSOR, max_size=3) | JSON}, optional={"parameters": JSON, "outputs": JSON}
    )
)
def test_whatever_comes_is_read_or_refused(message: dict[str, Any]) -> None:
    body = json.dumps(message).encode()
    with suppress(InvalidRequestError):
        request, _ = decode_request("m", "", body, None)
        assert len(request.inputs) == len(message["inputs"])


@given(st.binary(max_size=60), st.none() | st.integers(0, 70))
def test_any_bytes_are_refused(body: bytes, header_length: int | None) -> None:
    with pytest.raises(InvalidRequestError):
        decode_request("m", "", body, header_length)


@given(JSON)
def test_embeddings_input_is_read_or_refused(value: Any) -> None:
    body = json.dumps({"model": "m", "input": value}).encode()
    with suppress(InvalidRequestError):
        found = decode_input(decode_embeddings(body).input, 10, "input")
        expected = [value] if isinstance(value, str) or isinstance(value[0], int) else value
        assert [*found.texts, *found.tokens] == expected


@given(st.dictionaries(st.sampled_from(ChatRequest.__struct_fields__), JSON | st.sampled_from(["text", 1, 0.5, True])))
def test_any_chat_is_understood_or_refused(fields: dict[str, Any]) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]} | fields
    with suppress(InvalidRequestError):
        understand_chat(json.dumps(body).encode())


@given(JSON, JSON, JSON)
def test_any_message_is_understood_or_refused(message: Any, content: Any, tools: Any) -> None:
    for messages in ([message], [{"role": "user", "content": content}], [{"role": "assistant", "tool_calls": tools}]):
        with suppress(InvalidRequestError):
            understand_chat(json.dumps({"model": "m", "messages": messages, "tools": tools}).encode())


@given(st.binary(max_size=60))
def test_any_bytes_are_no_chat(body: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        understand_chat(body)


@given(st_numpy.arrays(np.float32, st_numpy.array_shapes(min_dims=1, max_dims=3)), st.integers(1, 5))
def test_classes_are_the_highest_values(array: np.ndarray[Any, Any], count: int) -> None:
    for row, classes in zip(array, classify(array, "x", count, (), batched=True), strict=True):
        values = np.where(np.isnan(row), -np.inf, row).ravel()
        indices = [int(item.decode().split(":")[1]) for item in classes]
        assert len(set(indices)) == len(indices) == min(count, values.size)
        np.testing.assert_array_equal(values[indices], np.sort(values)[::-1][: len(indices)])


def test_classes_of_integers_and_of_a_model_without_batches() -> None:
    scores = np.array([[0, 255], [254, 1]], np.uint8)
    assert classify(scores, "x", 1, ("a", "b"), batched=True).tolist() == [[b"255:1:b"], [b"254:0:a"]]
    assert classify(scores, "x", 2, (), batched=False).tolist() == [b"255:1", b"254:2"]
    huge = np.array([[2**63 - 2, 2**63 - 1, -(2**63)]], np.int64)
    assert [c.split(b":")[1] for c in classify(huge, "x", 3, (), batched=True)[0]] == [b"1", b"0", b"2"]


def test_equal_classes_keep_their_order() -> None:
    classes = classify(np.tile(np.float32([0, 1]), (1, 50)), "x", 40, (), batched=True)[0]
    assert [int(item.split(b":")[1]) for item in classes] == list(range(1, 80, 2))


def test_classes_of_an_empty_batch() -> None:
    assert classify(np.zeros((0, 3), np.float32), "x", 2, (), batched=True).shape == (0, 2)


def test_bools_are_0_or_1_in_memory() -> None:
    array = decode_binary(b"\x00\x01\x07", DATA_TYPES["BOOL"], [3])
    assert array.view(np.uint8).tolist() == [0, 1, 1]


def test_shorten_leaves_a_zero_vector_alone() -> None:
    vectors = np.array([[0.0, 0.0, 1.0], [3.0, 4.0, 0.0]], np.float32)
    np.testing.assert_allclose(shorten(vectors, 2), [[0, 0], [0.6, 0.8]], rtol=1e-6)
    assert shorten(vectors, None) is vectors


def test_encode_data_names_the_output() -> None:
    with pytest.raises(InvalidRequestError, match="output 'y'"):
        encode_data(np.array([b"\xff"], object), "y", quoted)
