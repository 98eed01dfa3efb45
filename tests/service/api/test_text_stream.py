"""Generated text as tensors over a real gRPC socket, asked as Triton's clients of language models do."""

import json
import queue
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from tests.e2e.processes import Server, parameter, serving
from tests.service.api.talkers import TEXT

ECHO = Path(__file__).parents[3] / "model_repository" / "echo"
ENDLESS = {"max_tokens": 8000, "ignore_eos": True}
Said = tuple[str, bool]
"""Text of an answer, and whether it is the final one."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`echo`, and `narrow`, where one answer runs and one may wait."""
    root = tmp_path_factory.mktemp("models")
    places = {"echo.step_ms": 1, "generation.max_sequences": 1, "generation.max_waiting": 1, "generation.window": 9000}
    for name, parameters in {"echo": {}, "narrow": places}.items():
        text = (ECHO / "config.pbtxt").read_text("utf-8").replace('name: "echo"', f'name: "{name}"')
        shutil.copytree(ECHO / "1", root / name / "1")
        (root / name / "config.pbtxt").write_text(text + "".join(parameter(*one) for one in parameters.items()))
    flags = ("--header-forward-pattern", "x-.*", "--default-timeout-ms", "1")
    with serving(tmp_path_factory.mktemp("server"), root, *flags) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.grpc) as client:
        yield client


@pytest.fixture
def answers(client: triton.InferenceServerClient) -> Iterator["queue.Queue[Any]"]:
    """Of the stream that `client` has open."""
    found: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: found.put((result, error)), headers={"x-team": "a"})
    yield found
    client.stop_stream(cancel_requests=True)


def text_input(name: str, text: str | bytes) -> triton.InferInput:
    data = np.array([text if isinstance(text, bytes) else text.encode()], np.object_)
    return triton.InferInput(name, [1], "BYTES").set_data_from_numpy(data)


def flag_input(name: str, value: bool) -> triton.InferInput:
    return triton.InferInput(name, [1], "BOOL").set_data_from_numpy(np.array([value]))


def inputs(text: str, stream: bool | None = True, **sampling: object) -> list[triton.InferInput]:
    found = [text_input("text_input", text)]
    if stream is not None:
        found.append(flag_input("stream", stream))
    if sampling:
        found.append(text_input("sampling_parameters", json.dumps(sampling)))
    return found


def said(answers: "queue.Queue[Any]") -> list[Said]:
    """All answers up to the final one."""
    found: list[Said] = []
    while not found or not found[-1][1]:
        result, error = answers.get(timeout=20)
        assert error is None
        (piece,) = result.as_numpy("text_output")
        found.append((piece.decode(), result.get_response().parameters["triton_final_response"].bool_param))
    return found


def failure(answers: "queue.Queue[Any]") -> str:
    result, error = answers.get(timeout=20)
    assert result is None
    return str(error.message())


def test_the_pieces_are_the_whole(client: triton.InferenceServerClient, answers: "queue.Queue[Any]") -> None:
    client.async_stream_infer(
        "narrow", inputs(TEXT, max_tokens="500"), outputs=[triton.InferRequestedOutput("text_output")]
    )
    pieces = said(answers)
    assert "".join(text for text, _ in pieces) == TEXT
    assert len(pieces) > 5
    for stream in (False, None):
        asked = [*inputs(TEXT, stream, max_tokens=500), flag_input("exclude_input_in_output", True)]
        client.async_stream_infer("narrow", asked)
        assert said(answers) == [(TEXT, True)]
    assert answers.empty()


def test_the_text_before_the_answer(client: triton.InferenceServerClient, answers: "queue.Queue[Any]") -> None:
    with_text = flag_input("exclude_input_in_output", False)
    for asked in ([*inputs("ab", False), with_text], inputs("ab", None)):
        client.async_stream_infer("echo", asked)
        assert said(answers) == [("abab", True)]
    client.async_stream_infer("echo", [*inputs("ab"), with_text])
    assert "answers in pieces cannot" in failure(answers)


def test_parameters_of_the_request_and_of_the_tensor(
    client: triton.InferenceServerClient, answers: "queue.Queue[Any]"
) -> None:
    client.async_stream_infer("echo", inputs("-abcdef", None), parameters={"max_tokens": 3})
    assert said(answers) == [("-abcdef-ab", True)]
    client.async_stream_infer("echo", inputs("-abcdef", None, max_tokens=2), parameters={"max_tokens": 3})
    assert said(answers) == [("-abcdef-a", True)]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (inputs("a", temperature=-1), "`float` >= 0.0 - at `$.temperature`"),
        (inputs("a", temperature="nan"), "the sampling parameters are not right"),
        (inputs("a", colour="red"), "unknown field `colour`"),
        (inputs("a", max_tokens=1_000_000), "max_tokens"),
        ([*inputs("a"), text_input("sampling_parameters", "{")], "the sampling parameters are not right"),
        ([*inputs("a"), text_input("sampling_parameters", '{"a":' + "[" * 100_000)], "are not right"),
        ([*inputs("a"), text_input("sampling_parameters", b"\xff")], "'sampling_parameters' is not UTF-8"),
        ([text_input("text_input", b"\xff")], "'text_input' is not UTF-8"),
        ([text_input("text_input", b"")], "the prompt has no tokens"),
        ([flag_input("text_input", True)], "'text_input' has datatype BOOL, wanted BYTES"),
        ([*inputs("a", None), text_input("stream", "true")], "'stream' has datatype BYTES, wanted BOOL"),
        ([*inputs("a"), text_input("image", "")], "and perhaps stream, sampling_parameters, exclude_input_in_output"),
        ([flag_input("stream", True)], "takes text_input"),
        ([triton.InferInput("text_input", [0], "BYTES").set_data_from_numpy(np.empty(0, object))], "shape [0]"),
    ],
)
def test_what_is_wrong_is_an_error_of_the_stream(
    client: triton.InferenceServerClient, answers: "queue.Queue[Any]", given: list[triton.InferInput], words: str
) -> None:
    client.async_stream_infer("echo", given)
    assert words in failure(answers)
    client.async_stream_infer("echo", inputs("a", None))
    assert said(answers) == [("aa", True)]


def test_an_output_that_is_not_there(client: triton.InferenceServerClient, answers: "queue.Queue[Any]") -> None:
    client.async_stream_infer("echo", inputs("a"), outputs=[triton.InferRequestedOutput("logits")])
    assert "unknown output 'logits'" in failure(answers)


def test_who_leaves_frees_the_place(server: Server) -> None:
    """With one place and one to wait in, a place that stays taken would be missed at once."""
    request = service_pb2.ModelInferRequest(model_name="narrow")
    sampling = json.dumps(ENDLESS).encode()
    for name, data in (("text_input", b"abc"), ("sampling_parameters", sampling)):
        request.inputs.add(name=name, datatype="BYTES", shape=[1], contents={"bytes_contents": [data]})
    request.inputs.add(name="stream", datatype="BOOL", shape=[1], contents={"bool_contents": [True]})
    with grpc.insecure_channel(server.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for _ in range(3):
            calls = [stub.ModelStreamInfer(iter([request])) for _ in range(2)]
            next(calls[0])
            for call in calls:
                call.cancel()
            until(lambda: (running(server, "batchyard_running_answers"), waiting(server)) == (0, 0))


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def running(server: Server, name: str) -> float:
    lines = httpx.get(f"http://127.0.0.1:{server.port}/metrics").text.splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f'{name}{{model="narrow"'))


def waiting(server: Server) -> float:
    return running(server, "nv_inference_pending_request_count")


def test_one_answer_to_one_request_is_refused_with_a_pointer(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.infer("echo", inputs("a"), timeout=10_000_000)
    assert caught.value.status() == "StatusCode.UNIMPLEMENTED"
    for pointer in ("ModelStreamInfer", "/v2/models/echo/generate"):
        assert pointer in caught.value.message()
