"""The module that Python models import, without a process: its names, and what each does with good and bad values."""

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from engines.apart_line import Line
from engines.python_backend.inside.errors import TritonModelException
from engines.python_backend.inside.parent import Parent
from engines.python_backend.inside.pb_utils import pb_utils
from engines.python_backend.messages import Asked, FromModel, GaveUp, ToModel
from engines.tensor import Array

NAMES = """InferenceRequest InferenceResponse Logger MetricFamily ModelConfig PreferredMemory TRITONSERVER_MEMORY_CPU
TRITONSERVER_MEMORY_GPU TRITONSERVER_REQUEST_FLAG_SEQUENCE_END TRITONSERVER_REQUEST_FLAG_SEQUENCE_START
TRITONSERVER_REQUEST_RELEASE_ALL TRITONSERVER_REQUEST_RELEASE_RESCHEDULE TRITONSERVER_RESPONSE_COMPLETE_FINAL
TRITON_STRING_TO_NUMPY Tensor TritonError TritonModelException deserialize_bytes_tensor get_input_config_by_name
get_input_tensor_by_name get_model_dir get_output_config_by_name get_output_tensor_by_name is_model_ready load_model
numpy_to_triton_type serialize_byte_tensor triton_string_to_numpy triton_to_numpy_type unload_model
using_decoupled_model_transaction_policy"""
"""Those that the module of Triton 2.51 has."""

X = np.arange(6, dtype=np.float32).reshape(2, 3)
WORDS = np.array([[b"a\0", b""], ["\u00e9", 3]], np.object_)


@pytest.fixture
def line() -> Iterator[tuple[ModuleType, Line[FromModel]]]:
    """The module, and the gateway's end of its line."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(10)
        yield pb_utils(Parent(Line(ours, ToModel)), Path("/models/m/1")), Line(theirs, FromModel)


@pytest.fixture
def module(line: tuple[ModuleType, Line[FromModel]]) -> ModuleType:
    return line[0]


def test_it_has_all_names_that_tritons_has(module: ModuleType) -> None:
    assert [name for name in NAMES.split() if not hasattr(module, name)] == []
    assert module.get_model_dir() == "/models/m/1"


def test_a_tensor_is_its_array(module: ModuleType) -> None:
    tensor = module.Tensor("x", X)
    assert (tensor.name(), tensor.shape(), tensor.triton_dtype(), tensor.is_cpu()) == ("x", [2, 3], 11, True)
    assert tensor.as_numpy() is X or np.shares_memory(tensor.as_numpy(), X)
    assert module.Tensor("x", np.array(3)).shape() == []
    assert module.Tensor("x", X.T).as_numpy().flags.c_contiguous


def test_dlpack_shares_memory_both_ways(module: ModuleType) -> None:
    tensor = module.Tensor("x", X)
    assert np.shares_memory(np.from_dlpack(tensor), X)
    for source in (tensor, X, tensor.to_dlpack()):
        found = module.Tensor.from_dlpack("y", source)
        assert found.name() == "y"
        assert np.shares_memory(found.as_numpy(), X)


class _OnGpu:
    def __dlpack__(self) -> None:
        raise AssertionError

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda m: m.Tensor("", X), "Tensor name cannot be an empty string."),
        (lambda m: m.Tensor("x", X.astype(complex)), "NumPy dtype is not supported."),
        (lambda m: m.Tensor("x", np.array(["a"])), "NumPy dtype is not supported."),
        (lambda m: m.Tensor("x", X.astype(">f4")), "NumPy dtype is not supported."),
        (lambda m: m.Tensor("x", WORDS).to_dlpack(), "DLPack does not have support for string tensors."),
        (lambda m: m.Tensor.from_dlpack("x", X.T), "DLPack tensor is not contiguous"),
        (lambda m: m.Tensor.from_dlpack("x", _OnGpu()), "takes tensors on the CPU"),
        (lambda m: m.InferenceResponse([None]), "Output tensor for inference response should not be empty."),
        (lambda m: m.InferenceResponse([], parameters={"a": 1.5}), "values to have type bool/int/str"),
        (lambda m: m.InferenceResponse([], parameters={1: 1}), "keys to have type str"),
        (lambda m: m.InferenceResponse([], parameters={"a": 2**63}), "int to have 64 bits"),
        (lambda m: m.InferenceResponse([], parameters=[1]), "Expect parameters to be a dict"),
        (lambda m: m.PreferredMemory(m.TRITONSERVER_MEMORY_GPU, 0), "GPU memory are not offered here"),
        (
            lambda m: asking(m, inputs=[None]),
            "Input tensor for request with id '' and model name 'm' should",
        ),
        (lambda m: asking(m, requested_output_names=[""]), "Requested output name for request"),
        (lambda m: asking(m, correlation_id=1.5), "Correlation ID must be integer or string"),
        (lambda m: asking(m).get_response_sender(), "has no response sender"),
        (lambda m: asking(m).set_release_flags(m.TRITONSERVER_REQUEST_RELEASE_RESCHEDULE), "rescheduling"),
        (lambda m: m.load_model("m"), "pb_utils.load_model is not offered here"),
        (lambda m: m.unload_model("m", unload_dependents=True), "pb_utils.unload_model is not offered here"),
    ],
)
def test_what_is_wrong_is_refused(module: ModuleType, act: Callable[[Any], object], words: str) -> None:
    with pytest.raises(TritonModelException, match=words):
        act(module)


@pytest.mark.parametrize(
    "act",
    [
        lambda m: m.Tensor("x", [1]),
        lambda m: m.Tensor(1, X),
        lambda m: m.TritonError(3),
        lambda m: m.InferenceResponse([X]),
        lambda m: m.InferenceResponse([], "an error"),
        lambda m: m.InferenceRequest(model_name="m"),
        lambda m: m.Logger.log(3),
        lambda m: m.MetricFamily("a", None, 0),
        lambda m: m.MetricFamily(1, "", 0),
        lambda m: asking(m, timeout=1.5),
        lambda m: asking(m, timeout=-1),
        lambda m: asking(m, flags=None),
        lambda m: asking(m, correlation_id=2**64),
        lambda m: asking(m, model_version="1"),
        lambda m: asking(m).set_flags("1"),
        lambda m: m.is_model_ready(1),
    ],
)
def test_other_types_are_refused(module: ModuleType, act: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError):
        act(module)


def asking(module: ModuleType, **fields: Any) -> Any:
    given = {"model_name": "m", "requested_output_names": ["y"], "inputs": [module.Tensor("x", X)]}
    return module.InferenceRequest(**{**given, **fields})


def test_a_request_of_ones_own_is_what_it_was_made_of(module: ModuleType) -> None:
    request = asking(module, request_id="r", correlation_id="c", flags=1, timeout=np.int64(5), parameters={"a": True})
    request.set_flags(2)
    assert (request.request_id(), request.correlation_id(), request.flags(), request.timeout()) == ("r", "c", 2, 5)
    assert request.requested_output_names() == {"y"}
    assert json.loads(request.parameters()) == {"a": True}
    assert not request.is_cancelled()
    assert module.get_input_tensor_by_name(request, "x") is request.inputs()[0]
    assert module.get_input_tensor_by_name(request, "z") is None


def test_a_question_whose_task_is_cancelled_is_given_up(line: tuple[ModuleType, Line[FromModel]]) -> None:
    module, theirs = line

    async def ask() -> None:
        task = asking(module).async_exec()
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(ask())
    (asked, _), (gave_up, _) = theirs.receive(), theirs.receive()
    assert isinstance(asked, Asked)
    assert gave_up == GaveUp(asked.key)


def test_names_may_be_bytes(module: ModuleType) -> None:
    request = asking(module, model_name=b"m", request_id=b"r", requested_output_names=[b"y"])
    assert (request.request_id(), request.requested_output_names()) == ("r", {"y"})
    assert module.Tensor(b"x", X).name() == "x"
    assert module.TritonError(b"\xff").message() == "\\xff"


def test_halves_of_characters_are_sent_in_words(module: ModuleType) -> None:
    response = module.InferenceResponse([], parameters={"\udc80": "\udc80"})
    assert json.loads(response.parameters()) == {"\\udc80": "\\udc80"}
    assert asking(module, correlation_id="\udc80").correlation_id() == "\\udc80"


def test_a_response_is_what_it_was_made_of(module: ModuleType) -> None:
    response = module.InferenceResponse([module.Tensor("y", X)], parameters={"a": 1})
    assert module.get_output_tensor_by_name(response, "y") is response.output_tensors()[0]
    assert module.get_output_tensor_by_name(response, "z") is None
    assert (response.has_error(), response.error(), response.parameters()) == (False, None, '{"a": 1}')
    error = module.TritonError("half a character: \udc80", module.TritonError.CANCELLED)
    assert (error.message(), error.code(), int(error.code())) == ("half a character: \\udc80", error.CANCELLED, 7)
    assert module.InferenceResponse(error=error).has_error()
    assert module.TritonError("x").code() == module.TritonError.INTERNAL


def test_data_types_are_tritons(module: ModuleType) -> None:
    kinds = [module.triton_to_numpy_type(number) for number in range(1, 14)]
    assert [module.numpy_to_triton_type(kind) for kind in kinds] == list(range(1, 14))
    assert [module.numpy_to_triton_type(np.dtype(kind)) for kind in kinds] == list(range(1, 14))
    assert module.numpy_to_triton_type(np.bytes_) == 13
    assert module.numpy_to_triton_type(np.complex64) is None
    assert module.triton_to_numpy_type(14) is None
    assert module.triton_string_to_numpy("TYPE_STRING") is np.object_
    assert module.triton_string_to_numpy("TYPE_FP16") is np.float16
    assert module.triton_string_to_numpy("TYPE_BOOL") is bool
    assert len(module.TRITON_STRING_TO_NUMPY) == 13


@pytest.mark.parametrize("words", [WORDS, WORDS.T, np.array([b"a", b"bcd"], np.bytes_)])
def test_strings_are_written_and_read(module: ModuleType, words: Array) -> None:
    wanted = [word if isinstance(word, bytes) else str(word).encode() for word in words.flat]
    assert module.deserialize_bytes_tensor(module.serialize_byte_tensor(words)).tolist() == wanted


def test_what_are_no_strings_is_not_written(module: ModuleType) -> None:
    assert module.serialize_byte_tensor(X) is None
    assert module.serialize_byte_tensor(np.array([], np.object_)) == ()
    assert module.deserialize_bytes_tensor(b"").tolist() == []


def test_configurations_are_searched(module: ModuleType) -> None:
    config = {"input": [{"name": "x", "dims": [1]}], "output": [{"name": "y"}]}
    assert module.get_input_config_by_name(config, "x") == {"name": "x", "dims": [1]}
    assert module.get_output_config_by_name(config, "y") == {"name": "y"}
    assert module.get_input_config_by_name({}, "x") is module.get_output_config_by_name(config, "x") is None
    decoupled = {"model_transaction_policy": {"decoupled": True}}
    assert module.using_decoupled_model_transaction_policy(decoupled)
    assert not module.using_decoupled_model_transaction_policy({})
