"""Generated text through a route: until it begins, as any request; then never again. With a real server, too."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import pytest

from engines import open_remote
from engines.generation import Delta
from engines.tensor import Signature
from service.catalog import Catalog, Model
from service.errors import (
    BatchyardError,
    DeadlineHopelessError,
    EngineFailedError,
    InvalidRequestError,
    ModelUnavailableError,
    QueueFullError,
)
from service.gateway import Gateway
from service.generating import GenerateRequest, Generation
from service.generation.remote import RemoteReplica
from service.intake import TensorIntake
from service.routing.breaker import FAILURES, FIRST_PAUSE
from service.routing.policies import Variant, fastest, ordered
from service.routing.route import Route
from service.routing.served import Served
from service.telemetry.metrics import Metrics
from service.types import DIRECT, Candidate, Hints, Prediction, Routed
from tests.service.routing.doubles import Clock, Setting
from tests.upstream import Upstream, chat, options, text_of, upstream_process


async def rest_of(generation: Generation) -> str:
    events = []
    while new := await generation.read():
        events += new
    generation.close()
    return text_of(events)


async def failure(gateway: Gateway, asked: GenerateRequest) -> BatchyardError:
    with pytest.raises(BatchyardError) as caught:
        await gateway.generate(asked)
    return caught.value


async def test_it_says_how_it_was_routed() -> None:
    setting = Setting("a", Variant("b", step_down=True))
    setting["a"].prediction = Prediction(20.0, 20.0, 20.0)
    generation = await setting.gateway.generate(setting.generation())
    assert (generation.routed.route, generation.routed.step_down) == ("both", "b:1")
    assert await rest_of(generation) == "b:1"
    assert set(setting["a"].costs) == {len("tell me something") // 4}
    direct = await setting.gateway.generate(setting.generation("b"))
    assert direct.routed is DIRECT
    told = await setting.gateway.generate(setting.generation("b", hints=Hints(explain=True)))
    assert told.routed.candidates == (Candidate("b:1", Prediction(), "chosen"),)


@pytest.mark.parametrize(
    "error", [EngineFailedError("broken"), ModelUnavailableError("away"), QueueFullError("full", 1)]
)
async def test_what_has_not_begun_is_tried_elsewhere(error: BatchyardError) -> None:
    setting = Setting("a", "b", policy=fastest)
    setting["a"].errors = [error]
    generation = await setting.gateway.generate(setting.generation())
    assert (generation.model, generation.routed.tries) == ("b", (f"a:1: {error}",))
    setting["b"].errors = [error]
    assert isinstance(await failure(setting.gateway, setting.generation()), type(error))


async def test_what_has_begun_is_never_asked_for_again() -> None:
    setting = Setting("a", "b")
    setting["a"].middle = EngineFailedError("broken in the middle")
    generation = await setting.gateway.generate(setting.generation())
    assert await generation.read() == (Delta(0, "a:1"),)
    with pytest.raises(EngineFailedError, match="in the middle"):
        await generation.read()
    assert setting.counts == [1, 0]


async def test_what_cannot_begin_in_time_is_refused() -> None:
    setting = Setting("a", "b")
    setting["a"].prediction = setting["b"].prediction = Prediction(2.0, 2.0, 3.0)
    error = await failure(setting.gateway, setting.generation(within=1.0))
    assert isinstance(error, DeadlineHopelessError)
    assert (error.retry_after, setting.counts) == (2.0, [0, 0])


@asynccontextmanager
async def over(clock: Clock, **urls: str) -> AsyncIterator[Gateway]:
    """A route `both` over servers, and each by its own name."""
    catalog = Catalog(clock=clock)
    replicas = []
    for name, url in urls.items():
        given = options(url)
        replica = RemoteReplica(f"{name}:1", open_remote(given), given.config, asyncio.get_running_loop().time)
        replicas.append(replica)
        served = Served(TensorIntake(Signature((), ())), replica)
        catalog.models[name] = Model(name, given.config, {"1": served})
    catalog.routes["both"] = Route("both", tuple(urls), ordered)
    try:
        yield Gateway(catalog, Metrics(), clock)
    finally:
        for replica in replicas:
            await replica.close(0.0)


def asking(text: str, model: str = "both") -> GenerateRequest:
    return GenerateRequest(model, chat(text))


async def test_a_server_that_dies_in_the_middle_is_replaced_for_all_that_comes_after(upstream: Upstream) -> None:
    clock = Clock()
    with ExitStack() as life:
        dying = life.enter_context(upstream_process())
        async with over(clock, first=dying.url, second=upstream.url) as gateway:
            begun = await gateway.generate(asking("hang: middle"))
            assert begun.model == "first"
            await begun.read()
            life.close()
            with pytest.raises(EngineFailedError):
                await begun.read()
            begun.close()
            for _ in range(2 * FAILURES):
                answer = await gateway.generate(asking("hello"))
                assert (answer.model, await rest_of(answer)) == ("second", "hello ")
            assert "cannot be reached" in gateway.model("first").reason
            assert (await upstream.state())["requests"] == 2 * FAILURES, "nothing is sent twice"


async def test_a_server_that_is_away_is_left_alone_for_a_while() -> None:
    clock = Clock()
    async with over(clock, tiny=f"http://127.0.0.1:{free_port()}/v1") as gateway:
        for _ in range(FAILURES):
            assert gateway.model("tiny").ready
            assert "All connection attempts failed" in str(await failure(gateway, asking("a", "tiny")))
        error = await failure(gateway, asking("a", "tiny"))
        assert isinstance(error, ModelUnavailableError)
        assert str(error).startswith("model 'tiny' is unavailable: ")
        assert error.retry_after == FIRST_PAUSE
        assert not gateway.model("tiny").ready


async def test_a_server_that_is_back_is_used_again(upstream: Upstream) -> None:
    clock = Clock()
    async with over(clock, tiny=upstream.url) as gateway:
        for _ in range(FAILURES):
            await failure(gateway, asking("vanish", "tiny"))
        clock.now += FIRST_PAUSE
        probe = asyncio.create_task(gateway.generate(asking("hello", "tiny")))
        await asyncio.sleep(0)
        assert not gateway.model("tiny").ready, "the others wait for what becomes of the probe"
        await rest_of(await probe)
        assert gateway.model("tiny").ready
        assert isinstance(await failure(gateway, asking("refused: 400", "tiny")), InvalidRequestError)
        assert gateway.model("tiny").ready


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def test_a_cheaper_variant_that_stepped_in_for_a_step_is_told() -> None:
    setting = Setting("a")
    setting["a"].routed = Routed(step_down="small:1")
    assert (await setting.infer()).routed.step_down == "small:1"
    assert (await setting.gateway.generate(setting.generation())).routed.step_down == "small:1"
