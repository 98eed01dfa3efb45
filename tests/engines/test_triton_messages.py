"""Questions and answers on the wire, and what is no answer."""

import struct

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from engines import triton_grpc_messages as over_grpc
from engines import triton_http_messages as over_http
from engines.calls import Question
from engines.errors import (
    EngineBusyError,
    EngineRefusedError,
    EngineTimeoutError,
    EngineUnreachableError,
    ExecutionError,
    InvalidInputError,
    InvalidOutputError,
)
from engines.tensor import DATA_TYPES, Array, encode_raw
from engines.triton_errors import BUSY_FOR, of_code, of_status

QUESTION = Question(
    "ours",
    {"x": np.array([[1, 2]], np.int16), "s": np.array([b"a", b""], object)},
    outputs=("y",),
    id="7",
    parameters={"flag": True, "size": 3, "share": 0.5, "name": "n"},
    correlation=2**63,
    start=True,
    priority=4,
)
MANY = [np.array([[1, 0]]).astype(kind.numpy) for kind in DATA_TYPES.values() if kind.size]


def test_a_question_over_grpc_is_complete_and_raw() -> None:
    request = over_grpc.write(QUESTION, "theirs", "2", 1.5)
    assert (request.model_name, request.model_version, request.id) == ("theirs", "2", "7")
    assert [(one.name, one.datatype, list(one.shape)) for one in request.inputs] == [
        ("x", "INT16", [1, 2]),
        ("s", "BYTES", [2]),
    ]
    assert list(request.raw_input_contents) == [struct.pack("<hh", 1, 2), b"\1\0\0\0a\0\0\0\0"]
    assert [one.name for one in request.outputs] == ["y"]
    said = {name: getattr(one, one.WhichOneof("parameter_choice")) for name, one in request.parameters.items()}
    assert said == {
        **QUESTION.parameters,
        "sequence_id": 2**63,
        "sequence_start": True,
        "sequence_end": False,
        "priority": 4,
        "timeout": 1_500_000,
    }


def test_a_question_without_a_deadline_names_none() -> None:
    assert not over_grpc.write(Question("m", {}), "m", "", float("inf")).parameters
    body, length = over_http.write(Question("m", {}), float("inf"))
    assert body[:length] == b'{"inputs":[],"parameters":{"binary_data_output":true}}'


@pytest.mark.parametrize("array", MANY, ids=str)
def test_every_type_comes_back_over_grpc(array: Array) -> None:
    request = over_grpc.write(Question("m", {"x": array}), "m", "", 1.0)
    answer = service_pb2.ModelInferResponse(raw_output_contents=request.raw_input_contents)
    answer.outputs.add(name="x", datatype=request.inputs[0].datatype, shape=request.inputs[0].shape)
    found = over_grpc.read(answer)
    assert found.final
    assert found.outputs["x"].dtype == array.dtype
    np.testing.assert_array_equal(found.outputs["x"], array)


def test_typed_contents_are_read_as_well() -> None:
    answer = service_pb2.ModelInferResponse()
    answer.outputs.add(name="x", datatype="INT8", shape=[2]).contents.int_contents.extend([-1, 2])
    answer.outputs.add(name="s", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"a")
    answer.parameters["triton_final_response"].bool_param = False
    answer.parameters["why"].string_param = "so"
    found = over_grpc.read(answer)
    assert (found.outputs["x"].tolist(), found.outputs["x"].dtype) == ([-1, 2], np.int8)
    assert found.outputs["s"].tolist() == [b"a"]
    assert (found.parameters, found.final) == ({"why": "so"}, False)


@pytest.mark.parametrize(
    ("datatype", "shape", "raw"),
    [
        ("INT32", [2], [b"\0" * 4]),
        ("INT32", [1], [b"\0" * 4, b""]),
        ("BF16", [1], [b"\0\0"]),
        ("BYTES", [1], [b"\xff"]),
    ],
)
def test_an_answer_over_grpc_that_lies_is_an_error(datatype: str, shape: list[int], raw: list[bytes]) -> None:
    answer = service_pb2.ModelInferResponse(raw_output_contents=raw)
    answer.outputs.add(name="x", datatype=datatype, shape=shape)
    with pytest.raises(InvalidOutputError):
        over_grpc.read(answer)


def test_an_answer_over_http_has_its_tensors_behind_the_json_or_in_it() -> None:
    outputs = (
        '{"name":"x","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}},'
        '{"name":"s","datatype":"BYTES","shape":[2],"parameters":{"binary_data_size":10}},'
        '{"name":"n","datatype":"INT8","shape":[2,2],"data":[[1,2],[3,4]]}'
    )
    json = f'{{"model_name":"m","outputs":[{outputs}],"parameters":{{"why":"so","n":1}}}}'.encode()
    raw = [encode_raw(np.array([1, 2], np.float32)), encode_raw(np.array([b"a", b"b"], object))]
    found = over_http.read(b"".join([json, *raw]), len(json))
    assert {name: array.tolist() for name, array in found.outputs.items()} == {
        "x": [[1.0, 2.0]],
        "s": [b"a", b"b"],
        "n": [[1, 2], [3, 4]],
    }
    assert found.parameters == {"why": "so", "n": 1}


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b'{"outputs":[{"name":"x"}]}',
        b'{"outputs":[{"name":"x","datatype":"INT8","shape":[2]}]}',
        b'{"outputs":[{"name":"x","datatype":"INT8","shape":[2],"data":[1]}]}',
        b'{"outputs":[{"name":"x","datatype":"INT8","shape":[1],"data":["one"]}]}',
        b'{"outputs":[{"name":"x","datatype":"INT8","shape":[9],"parameters":{"binary_data_size":9}}]}',
        b'{"outputs":[{"name":"x","datatype":"INT8","shape":[9],"parameters":{"binary_data_size":-1}}]}',
    ],
)
def test_an_answer_over_http_that_lies_is_an_error(body: bytes) -> None:
    with pytest.raises(InvalidOutputError):
        over_http.read(body, len(body))


def test_what_a_server_says_of_a_model_is_read_or_refused() -> None:
    found = over_http.config_of(b'{"name":"m","backend":"b","max_batch_size":4,"unheard_of":1}')
    assert (found.name, found.max_batch_size) == ("m", 4)
    metadata = b'{"name":"m","inputs":[{"name":"x","datatype":"BYTES","shape":[-1,1]}],"outputs":[]}'
    assert list(over_http.config_of_metadata(metadata).input[0].dims) == [-1, 1]
    for bad in (b"nonsense", b'{"max_batch_size":"many"}'):
        with pytest.raises(InvalidOutputError):
            over_http.config_of(bad)
    with pytest.raises(InvalidOutputError):
        over_http.config_of_metadata(metadata.replace(b"BYTES", b"COMPLEX"))


@pytest.mark.parametrize(
    ("code", "said", "kind"),
    [
        ("INVALID_ARGUMENT", "unexpected shape", InvalidInputError),
        ("UNIMPLEMENTED", "", InvalidInputError),
        ("NOT_FOUND", "unknown model", EngineUnreachableError),
        ("UNAVAILABLE", "failed to connect to all addresses", EngineUnreachableError),
        ("UNAVAILABLE", "[request id: 1] Exceeds maximum queue size", EngineBusyError),
        ("RESOURCE_EXHAUSTED", "come back later", EngineBusyError),
        ("RESOURCE_EXHAUSTED", "SERVER: Received message larger than max (9 vs. 4)", InvalidInputError),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", EngineTimeoutError),
        ("UNAUTHENTICATED", "", EngineRefusedError),
        ("INTERNAL", "boom", ExecutionError),
        ("CANCELLED", "", ExecutionError),
    ],
)
def test_grpc_statuses_in_our_words(code: str, said: str, kind: type[Exception]) -> None:
    error = of_code(code, said, "")
    assert type(error) is kind
    assert str(error) == (said or code)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidInputError),
        (413, InvalidInputError),
        (401, EngineRefusedError),
        (404, EngineUnreachableError),
        (408, EngineTimeoutError),
        (429, EngineBusyError),
        (503, EngineBusyError),
        (504, EngineTimeoutError),
        (500, ExecutionError),
        (302, ExecutionError),
    ],
)
def test_http_statuses_in_our_words(status: int, kind: type[Exception]) -> None:
    assert type(of_status(status, "why", "")) is kind
    assert over_http.error_of(b'{"error":"why"}') == "why"
    assert over_http.error_of(b"<html>no") == "<html>no"


@pytest.mark.parametrize(
    ("said", "seconds"), [("250", 0.25), ("", BUSY_FOR), ("soon", BUSY_FOR), ("1e9", 60), ("-5", 0)]
)
def test_a_busy_server_says_when(said: str, seconds: float) -> None:
    for error in (of_status(429, "full", said), of_code("RESOURCE_EXHAUSTED", "full", said)):
        assert isinstance(error, EngineBusyError)
        assert error.retry_after == seconds


DEEP = b"[" * 3000 + b"]" * 3000


@pytest.mark.parametrize(
    "output",
    [
        b'"FP32","shape":[-1],"data":[1,2]',
        b'"FP32","shape":[18446744073709551616,0],"data":[]',
        b'"FP32","shape":[9223372036854775808,0],"parameters":{"binary_data_size":0}',
        b'"BYTES","shape":[9223372036854775808,0],"parameters":{"binary_data_size":0}',
        b'"FP32","shape":[1],"data":' + DEEP,
    ],
    ids=range(5),
)
def test_json_that_no_tensor_can_be_made_of_is_an_error(output: bytes) -> None:
    with pytest.raises(InvalidOutputError):
        over_http.read(b'{"outputs":[{"name":"o","datatype":' + output + b"}]}", None)


def test_json_that_is_nested_too_deep_is_an_error() -> None:
    with pytest.raises(InvalidOutputError):
        over_http.config_of(b'{"name":' + DEEP + b"}")
    assert over_http.error_of(b'{"error":"x","y":' + DEEP + b"}").startswith('{"error":"x"')


def test_elements_may_be_nested_as_they_like() -> None:
    body = b'{"outputs":[{"name":"o","datatype":"INT8","shape":[3],"data":[1,[2,[3]]]}]}'
    assert over_http.read(body, None).outputs["o"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1])
def test_a_parameter_that_grpc_has_no_word_for_is_refused(value: int) -> None:
    with pytest.raises(InvalidInputError, match="parameter 'p' cannot be sent"):
        over_grpc.write(Question("m", {}, parameters={"p": value}), "m", "", 1.0)


@pytest.mark.parametrize("said", ["nan", "-inf", "-1"])
def test_a_time_to_come_back_is_a_number(said: str) -> None:
    error = of_status(429, "", said)
    assert isinstance(error, EngineBusyError)
    assert error.retry_after == 0
