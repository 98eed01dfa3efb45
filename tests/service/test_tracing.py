"""Triton's trace extension: which requests are traced, and what the files hold."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from service.errors import EngineFailedError, InvalidRequestError
from service.responses import OneResponse
from service.telemetry.trace_file import Trace, TraceFile
from service.telemetry.trace_stamps import stamps_of
from service.telemetry.tracing import Tracing
from service.types import InferRequest, InferResponse, Responses, Timing

ON = {"trace_level": ["TIMESTAMPS"], "trace_rate": ["1"]}
NAMES = [
    "REQUEST_START",
    "QUEUE_START",
    "COMPUTE_START",
    "COMPUTE_INPUT_END",
    "COMPUTE_OUTPUT_START",
    "COMPUTE_END",
    "REQUEST_END",
]


class Served:
    """A gateway's inside: model `chain` asks `first` and `second`, `broken` fails. A clock that ticks by 1 s."""

    def __init__(self, tracing: Tracing) -> None:
        self.tracing = tracing
        self.time = 0.0

    def clock(self) -> float:
        self.time += 1
        return self.time

    async def ask(self, model: str, request_id: str = "") -> InferResponse:
        request = InferRequest(model, {"x": np.zeros(1)}, id=request_id)
        if not self.tracing.on:
            return await self.answer(request)
        return await self.tracing.infer(request, self.answer, self.clock)

    async def answer(self, request: InferRequest) -> InferResponse:
        if request.model == "broken":
            raise EngineFailedError("no")
        if request.model == "chain":
            for step in ("first", "second"):
                await self.ask(step)
        timing = Timing(0.25, 0.5, input=0.125, output=0.0625, actual=1.0)
        return InferResponse(request.model, "1", {}, timing=timing)


def read(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_bytes())
    return found


def written(folder: Path) -> dict[str, int]:
    """The files, and the traces in each."""
    return {path.name: len(heads(read(path))) for path in folder.iterdir()}


def heads(found: Sequence[Mapping[str, Any]]) -> list[str]:
    return [item["model_name"] for item in found if "model_name" in item]


def stamps(found: Sequence[Mapping[str, Any]], number: int) -> dict[str, int]:
    named = [stamp for item in found if item["id"] == number for stamp in item.get("timestamps", ())]
    return {stamp["name"]: stamp["ns"] for stamp in named}


def test_settings_as_triton_tells_them(tmp_path: Path) -> None:
    tracing = Tracing(str(tmp_path / "t.json"))
    told = tracing.get()
    assert list(told) == ["trace_level", "trace_rate", "trace_count", "log_frequency", "trace_file", "trace_mode"]
    assert list(told.values()) == [("OFF",), ("1000",), ("-1",), ("0",), (str(tmp_path / "t.json"),), ("triton",)]
    assert not tracing.on


def test_a_model_takes_the_servers_settings_until_it_has_its_own(tmp_path: Path) -> None:
    tracing = Tracing(str(tmp_path / "t.json"))
    tracing.update("", {"trace_rate": ["9"]})
    assert tracing.update("first", {"trace_count": ["5"]})["trace_rate"] == ("9",)
    tracing.update("", {"trace_rate": ["8"], "trace_count": ["7"], "trace_level": ["TIMESTAMPS"]})
    told = tracing.get("first")
    assert (told["trace_rate"], told["trace_count"], told["trace_level"]) == (("8",), ("5",), ("TIMESTAMPS",))
    assert tracing.get("second")["trace_count"] == ("7",)
    assert tracing.update("first", {"trace_count": []})["trace_count"] == ("7",)
    assert tracing.update("first", {"trace_level": ["OFF"]})["trace_level"] == ("OFF",)
    assert tracing.on
    cleared = tracing.update("", {"trace_level": (), "trace_rate": (), "trace_count": ()})
    assert cleared["trace_rate"] == ("1000",)
    assert not tracing.on


@pytest.mark.parametrize(
    ("changes", "words", "triton"),
    [
        ({"trace_level": ["TENSORS"]}, "TENSORS is not served", ""),
        ({"trace_level": ["OFF", "TIMESTAMPS"]}, "stands alone", "Expect only one trace level 'OFF' is specified"),
        ({"trace_level": ["ALL"]}, "use OFF or TIMESTAMPS", ""),
        ({"trace_rate": ["x"]}, "must be a whole number", "Unable to parse 'trace_rate', got: x"),
        ({"trace_rate": ["1", "2"]}, "must be a whole number", "Unable to parse 'trace_rate', got: 1,2"),
        ({"trace_rate": ["-1"]}, "from 0 to 4294967295", ""),
        ({"trace_count": ["-2"]}, "from -1 to", ""),
        ({"log_frequency": ["10001"]}, "from 0 to 10000", ""),
        ({"trace_file": ["x"]}, "setting of the server's start", "trace file location can not be updated"),
        ({"trace_mode": ["opentelemetry"]}, "cannot be changed", ""),
        ({"trace_tail": ["1"]}, "unknown trace setting 'trace_tail'", ""),
        ({"trace_level": ["TIMESTAMPS"], "trace_rate": ["0"]}, "must be 1 or more", "sample rate must be non-zero"),
    ],
)
def test_what_is_refused_changes_nothing(
    tmp_path: Path, changes: dict[str, list[str]], words: str, triton: str
) -> None:
    tracing = Tracing(str(tmp_path / "t.json"))
    before = tracing.get("first")
    with pytest.raises(InvalidRequestError, match=words) as caught:
        tracing.update("first", {"log_frequency": ["3"], **changes})
    assert triton in caught.value.triton
    assert tracing.get("first") == before
    assert not tracing.on


def test_without_a_file_it_cannot_be_switched_on() -> None:
    tracing = Tracing()
    with pytest.raises(InvalidRequestError, match="has no file for traces; start it with --trace-file") as caught:
        tracing.update("", ON)
    assert caught.value.triton == "Attempting to set invalid trace setting :trace file name is not given"
    assert tracing.update("", {"trace_rate": ["5"]})["trace_rate"] == ("5",)


async def test_one_of_so_many_requests_is_traced(tmp_path: Path) -> None:
    tracing = Tracing(str(tmp_path / "t.json"))
    served = Served(tracing)
    await served.ask("first", "unseen")
    tracing.update("", {**ON, "trace_rate": ["3"]})
    for number in range(1, 8):
        await served.ask("first", f"r{number}")
    tracing.update("", {"trace_level": ["OFF"]})
    await served.ask("first", "unseen")
    tracing.close(5)
    found = read(tmp_path / "t.json")
    assert [item["request_id"] for item in found if "request_id" in item] == ["r3", "r6"]


async def test_an_answered_request_has_all_timestamps_in_order(tmp_path: Path) -> None:
    tracing = Tracing(str(tmp_path / "t.json"))
    tracing.update("", ON)
    await Served(tracing).ask("first", "r1")
    tracing.close(5)
    found = read(tmp_path / "t.json")
    assert found[0] == {"id": 1, "model_name": "first", "model_version": 1, "request_id": "r1"}
    named = stamps(found, 1)
    assert list(named) == NAMES
    assert list(named.values()) == sorted(named.values())
    assert (named["REQUEST_START"], named["REQUEST_END"]) == (1_000_000_000, 2_000_000_000)
    assert named["COMPUTE_START"] == 1_250_000_000
    assert named["COMPUTE_INPUT_END"] == 1_375_000_000
    assert named["COMPUTE_OUTPUT_START"] == 1_687_500_000
    assert named["COMPUTE_END"] == 1_750_000_000


async def test_a_failed_request_is_traced_too(tmp_path: Path) -> None:
    tracing = Tracing(str(tmp_path / "t.json"))
    tracing.update("", ON)
    with pytest.raises(EngineFailedError):
        await Served(tracing).ask("broken")
    tracing.close(5)
    found = read(tmp_path / "t.json")
    assert found[0]["model_version"] == -1
    assert list(stamps(found, 1)) == ["REQUEST_START", "REQUEST_END"]


async def test_the_steps_of_an_ensemble_are_traced_with_it_and_only_with_it(tmp_path: Path) -> None:
    tracing = Tracing(str(tmp_path / "t.json"))
    tracing.update("", {**ON, "trace_rate": ["2"]})
    served = Served(tracing)
    for _ in range(4):
        await served.ask("chain")
    tracing.close(5)
    found = [item for item in read(tmp_path / "t.json") if "model_name" in item]
    assert [item["model_name"] for item in found] == ["first", "second", "chain"] * 2
    first, second, chain = found[:3]
    assert first["parent_id"] == second["parent_id"] == chain["id"]
    everything = read(tmp_path / "t.json")
    assert list(stamps(everything, first["id"])) == NAMES
    assert list(stamps(everything, chain["id"])) == ["REQUEST_START", "QUEUE_START", "REQUEST_END"]
    assert "parent_id" not in chain


async def test_a_count_ends_it_and_goes_to_a_file_of_its_own(tmp_path: Path) -> None:
    tracing = Tracing(str(tmp_path / "t.json"))
    tracing.update("", {**ON, "trace_count": ["2"]})
    served = Served(tracing)
    await served.ask("first")
    assert tracing.get()["trace_count"] == ("1",)
    for _ in range(4):
        await served.ask("first")
    assert tracing.get()["trace_count"] == ("0",)
    tracing.close(5)
    assert heads(read(tmp_path / "t.json.0")) == ["first", "first"]
    assert written(tmp_path) == {"t.json.0": 2}


async def test_a_frequency_makes_numbered_files(tmp_path: Path) -> None:
    tracing = Tracing(str(tmp_path / "t.json"))
    tracing.update("", {**ON, "log_frequency": ["2"]})
    for _ in range(5):
        await Served(tracing).ask("first")
    tracing.close(5)
    assert written(tmp_path) == {
        "t.json.0": 2,
        "t.json.1": 2,
        "t.json.2": 1,
    }


async def test_a_model_is_traced_alone(tmp_path: Path) -> None:
    tracing = Tracing(str(tmp_path / "t.json"))
    tracing.update("second", ON)
    for model in ("first", "second", "third"):
        await Served(tracing).ask(model)
    tracing.close(5)
    assert heads(read(tmp_path / "t.json")) == ["second"]


async def test_a_stream_is_traced_when_it_ends(tmp_path: Path) -> None:
    tracing = Tracing(str(tmp_path / "t.json"))
    tracing.update("", ON)
    served = Served(tracing)

    async def stream(request: InferRequest) -> Responses:
        return OneResponse(await served.answer(request))

    for read_it in (True, False):
        responses = await tracing.stream(InferRequest("first", {}), stream, served.clock)
        if read_it:
            await responses.read()
        responses.close()
    tracing.close(5)
    found = read(tmp_path / "t.json")
    assert (list(stamps(found, 1)), list(stamps(found, 2))) == (NAMES, ["REQUEST_START", "REQUEST_END"])


async def test_many_traces_are_written_on_the_way(tmp_path: Path) -> None:
    tracing = Tracing(str(tmp_path / "t.json"))
    tracing.update("", ON)
    for _ in range(1000):
        await Served(tracing).ask("first")
    tracing.close(5)
    assert len(heads(read(tmp_path / "t.json"))) == 1000


def test_a_file_that_cannot_be_written_is_said_in_the_log_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = TraceFile(tmp_path / "gone" / "t.json")
    for numbered in (True, False):
        file.save([Trace(1, 0, "first", 1, "", ())], numbered)
    file.close(5)
    assert caplog.text.count("traces cannot be written to") == 2


def test_what_the_disk_cannot_take_is_dropped_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A pipe that nobody reads stands for a disk that has stopped."""
    pipe = tmp_path / "t.json"
    os.mkfifo(pipe)
    file = TraceFile(pipe)
    group = [Trace(1, 0, "first", 1, "", ())] * 4000
    for _ in range(20):
        file.save(group, numbered=False)
    with pipe.open("rb") as reader:
        closing = Thread(target=file.close, args=(10,))
        closing.start()
        found = json.loads(reader.read())
        closing.join(10)
    assert len(found) == 20_000
    assert "60000 traces were dropped" in caplog.text


def test_timestamps_never_pass_the_end() -> None:
    named = dict(stamps_of(Timing(5.0, 7.0, input=1.0, output=1.0), 1.0, 2.0))
    assert max(named.values()) == named["REQUEST_END"] == 2_000_000_000
