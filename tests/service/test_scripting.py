"""Models that ask other models through the gateway; the models are small engines, all else is the real thing."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue

import numpy as np
import pytest
from tritonclient.grpc.model_config_pb2 import ModelConfig as ModelConfigProto

from engines.calls import Ask, Call, CallEngine, Question, ReadyQuestion, Response
from engines.errors import EngineError, ModelAnsweredError
from engines.model_config import ModelConfig
from service.catalog import Catalog, Model
from service.gateway import Gateway
from service.intake import TensorIntake
from service.routing.served import Served
from service.scripting import Scripting
from service.telemetry.metrics import Metrics
from service.types import Hints
from tests.service.batching.calls import CANCELLED, INVALID, SIGNATURE, Doubling, Later, answer, replica, until, value
from tests.service.cached import CachedSetting


@dataclass
class Told:
    """What a model was told, as it came."""

    responses: SimpleQueue[Response] = field(default_factory=SimpleQueue)

    def __call__(self, response: Response) -> None:
        self.responses.put(response)

    async def next(self) -> Response:
        return await asyncio.to_thread(self.responses.get, timeout=10)

    async def error(self) -> EngineError:
        response = await self.next()
        assert response.error is not None
        assert response.final
        return response.error


def config(name: str, *, decoupled: bool) -> ModelConfig:
    specs = SIGNATURE.inputs, SIGNATURE.outputs
    return ModelConfig(name, "python", "", SIGNATURE.max_batch_size, *specs, ModelConfigProto(), decoupled=decoupled)


@asynccontextmanager
async def gateway(plain: CallEngine, decoupled: CallEngine) -> AsyncIterator[Gateway]:
    """Serves `plain`, and `many`, which is decoupled."""
    async with replica(plain, name="plain") as (one, _), replica(decoupled, decoupled=True, name="many") as (many, _):
        catalog = Catalog()
        for name, made in (("plain", one), ("many", many)):
            served = Served(TensorIntake(SIGNATURE), made)
            catalog.models[name] = Model(name, config(name, decoupled=made is many), {"1": served})
        yield Gateway(catalog, Metrics(), time.monotonic)


def scripting(gateway: Gateway, *, timeout: float = 30.0, most: int = 8) -> Ask:
    made = Scripting(gateway, timeout, most)
    made.start()
    return made.of_a_model()


def question(number: float, model: str = "plain", *, timeout: int = 0, decoupled: bool = False) -> Question:
    inputs = {"x": np.array([[number]], np.float32)}
    parameters: dict[str, bool | int | float | str] = {"color": "red"}
    return Question(model, inputs, "1", ("x",), "id", parameters, 7, True, False, 0, timeout, decoupled)


async def test_a_question_is_answered_as_a_request_is() -> None:
    engine = Doubling()
    async with gateway(engine, Later()) as served:
        told = Told()
        await asyncio.to_thread(scripting(served), question(4, timeout=5_000_000), told)
        response = await told.next()
        assert value(response.outputs) == 8
        assert (response.parameters, response.final, response.error) == ({"told": "yes"}, True, None)
        ((call,),) = engine.calls
        assert (call.id, call.parameters, call.correlation, call.start) == ("id", {"color": "red"}, 7, True)
        assert 0 < call.timeout <= 5_000_000
        assert served.statistics("plain")[0].success.count == 1


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        (question(1, "nobody"), "NOT_FOUND", "unknown model 'nobody'"),
        (question(INVALID), "INVALID_ARG", "bad value"),
        (question(CANCELLED), "CANCELLED", "seen that nobody waits"),
        (Question("plain", {}), "INVALID_ARG", "missing"),
        (question(1, "many"), "UNSUPPORTED", "decoupled=True"),
    ],
)
async def test_errors_are_answers(asked: Question, code: str, said: str) -> None:
    async with gateway(Doubling(), Later()) as served:
        told = Told()
        await asyncio.to_thread(scripting(served), asked, told)
        error = await told.error()
        assert isinstance(error, ModelAnsweredError)
        assert (error.code, said in str(error)) == (code, True)


@pytest.mark.parametrize(
    ("model", "version", "ready"), [("plain", "", True), ("many", "1", True), ("plain", "2", False), ("no", "", False)]
)
async def test_a_model_is_told_who_is_ready(model: str, version: str, ready: bool) -> None:
    async with gateway(Doubling(), Later()) as served:
        told = Told()
        await asyncio.to_thread(scripting(served), ReadyQuestion(model, version), told)
        response = await told.next()
        assert (response.parameters, response.final, response.error) == ({"ready": ready}, True, None)


async def test_a_decoupled_question_takes_all_answers_in_order() -> None:
    engine = Later()
    async with gateway(Doubling(), engine) as served:
        told = Told()
        await asyncio.to_thread(scripting(served), question(1, "many", decoupled=True), told)
        await until(lambda: bool(engine.open))
        await asyncio.to_thread(engine.respond, 0, answer(1, final=False), answer(2, final=False), Response())
        found = [await told.next() for _ in range(3)]
        assert [value(one.outputs) for one in found[:2]] == [1, 2]
        assert [one.final for one in found] == [False, False, True]
        assert not found[2].outputs


async def test_a_decoupled_question_to_any_other_model_takes_one() -> None:
    async with gateway(Doubling(), Later()) as served:
        told = Told()
        await asyncio.to_thread(scripting(served), question(3, decoupled=True), told)
        response = await told.next()
        assert (value(response.outputs), response.final) == (6, True)


async def test_what_is_given_up_is_cancelled_and_says_so() -> None:
    engine = Later()
    async with gateway(Doubling(), engine) as served:
        told = Told()
        give_up = await asyncio.to_thread(scripting(served), question(1, "many", decoupled=True), told)
        await until(lambda: bool(engine.open))
        await asyncio.to_thread(engine.respond, 0, answer(1, final=False))
        assert (await told.next()).error is None
        await asyncio.to_thread(give_up)
        error = await told.error()
        assert isinstance(error, ModelAnsweredError)
        assert error.code == "CANCELLED"
        await until(engine.open[0].cancelled)


async def test_questions_of_one_model_are_bounded() -> None:
    engine = Later()
    async with gateway(engine, Later()) as served:
        ask = scripting(served, most=1)
        first, second, third = Told(), Told(), Told()
        await asyncio.to_thread(ask, question(1), first)
        await asyncio.to_thread(ask, question(2), second)
        refused = await second.error()
        assert isinstance(refused, ModelAnsweredError)
        assert (refused.code, "as many as may" in str(refused)) == ("UNAVAILABLE", True)
        await until(lambda: bool(engine.open))
        await asyncio.to_thread(engine.respond, 0, answer(5))
        assert value((await first.next()).outputs) == 5
        await asyncio.to_thread(ask, question(3), third)
        await until(lambda: len(engine.open) == 2)
        await asyncio.to_thread(engine.respond, 1, answer(6))
        assert value((await third.next()).outputs) == 6


async def test_before_the_gateway_runs_nothing_is_answered() -> None:
    async with gateway(Doubling(), Later()) as served:
        told = Told()
        ask = Scripting(served, 30.0, 1).of_a_model()
        for _ in range(2):
            ask(question(1), told)
            assert "answers no questions" in str(await told.error())


class Asker(Doubling):
    """Asks itself in the middle of its run, and answers with what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.ask: Ask | None = None

    def execute(self, calls: Sequence[Call]) -> Sequence[Response | None]:
        assert self.ask is not None
        told: SimpleQueue[Response] = SimpleQueue()
        self.ask(question(1, timeout=100_000), told.put)
        return [told.get(timeout=10) for _ in calls]


async def test_a_model_that_asks_itself_waits_for_itself_until_the_deadline() -> None:
    engine = Asker()
    async with gateway(engine, Later()) as served:
        engine.ask = scripting(served)
        told = Told()
        await asyncio.to_thread(engine.ask, question(1), told)
        assert "deadline" in str(await told.error())


async def test_what_a_model_asked_for_one_caller_is_not_answered_to_another_by_the_cache() -> None:
    setting = CachedSetting("a")
    made = Scripting(setting.gateway, 30.0, 8, Hints(cache="no-store"))
    made.start()
    for _ in range(2):
        told = Told()
        await asyncio.to_thread(made.of_a_model(), Question("a", {"IN": np.ones((1, 2), np.float32)}), told)
        assert (await told.next()).error is None
    assert setting.counts == [2]
