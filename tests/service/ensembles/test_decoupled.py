"""Ensembles over models that give any number of answers: what follows runs once for each of them."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.ensembles.work import AHEAD
from service.errors import EngineFailedError
from service.types import InferResponse, Responses
from tests.service.ensembles.models import Model, World, asking, offer, row, steps, tensors, until

LINE = tensors("A", "C", dims="-1") + steps("many i=A -> o=B", "after i=B -> o=C")


def many() -> Model:
    """One answer for each value, in order."""
    return Model(offer("i", "o", decoupled=True, dims=(-1,)), lambda t: [{"o": row(value)} for value in t["i"].ravel()])


def after() -> Model:
    return Model(offer("i", "o", dims=(-1,)), lambda t: [{"o": t["i"] * 10}])


async def read_all(responses: Responses) -> list[InferResponse]:
    found = []
    async with asyncio.timeout(10):
        while (response := await responses.read()) is not None:
            found.append(response)
    responses.close()
    return found


def values(responses: Sequence[InferResponse], name: str = "C") -> list[float]:
    """The answers' values. Only the last is final; it holds no outputs where it was not known before that it is."""
    assert [answer.final for answer in responses] == [False] * (len(responses) - 1) + [True]
    answers = responses if responses[-1].outputs else responses[:-1]
    return [float(answer.outputs[name].ravel()[0]) for answer in answers]


async def test_each_answer_starts_what_follows() -> None:
    models = World(many=many(), after=after())
    found = await read_all(await models.ensemble(LINE).stream(asking(A=row(1, 2, 3))))
    assert values(found) == [10, 20, 30]
    assert found[0].engine == "many+after"
    assert len(models["after"].asked) == 3
    await until(lambda: models["many"].closed == 1)


async def test_no_answers() -> None:
    models = World(many=many(), after=after())
    assert values(await read_all(await models.ensemble(LINE).stream(asking(A=np.zeros((1, 0), np.float32))))) == []
    assert models["after"].asked == []


async def test_answers_keep_their_order_whoever_is_first() -> None:
    models = World(many=many(), after=after())
    gates = {1.0: asyncio.Event(), 2.0: asyncio.Event()}
    infer = models.infer

    async def slowly(request):  # type: ignore[no-untyped-def]
        await gates[float(request.inputs["i"].ravel()[0])].wait()
        return await infer(request)

    models.infer = slowly  # type: ignore[method-assign]
    responses = await models.ensemble(LINE).stream(asking(A=row(1, 2)))
    first = asyncio.create_task(responses.read())
    gates[2.0].set()
    await until(lambda: len(models["after"].asked) == 1)
    assert not first.done()
    gates[1.0].set()
    assert values([found for found in [await first] if found] + await read_all(responses)) == [10, 20]


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), max_size=6))
def test_decoupled_behind_decoupled(numbers: list[int]) -> None:
    """Each answer v of the first gives v answers of the second, and all of them come in order."""

    async def run() -> None:
        repeat = Model(
            offer("i", "o", decoupled=True, dims=(-1,)),
            lambda t: [{"o": row(t["i"].ravel()[0] + n / 100)} for n in range(int(t["i"].ravel()[0]))],
        )
        models = World(many=many(), repeat=repeat, after=after())
        config = tensors("A", "D", dims="-1") + steps("many i=A -> o=B", "repeat i=B -> o=C", "after i=C -> o=D")
        found = await read_all(await models.ensemble(config).stream(asking(A=row(*numbers))))
        wanted = [10 * (value + n / 100) for value in numbers for n in range(value)]
        assert values(found, "D") == pytest.approx(wanted)

    asyncio.run(run())


async def test_steps_beside_each_other_behind_the_same_answer() -> None:
    models = World(
        many=many(),
        left=after(),
        right=after(),
        join=Model(offer("i j", "o", dims=(-1,)), lambda t: [{"o": t["i"] + t["j"]}]),
    )
    config = tensors("A", "E", dims="-1") + steps(
        "many i=A -> o=B", "left i=B -> o=C", "right i=B -> o=D", "join i=C j=D -> o=E"
    )
    assert values(await read_all(await models.ensemble(config).stream(asking(A=row(1, 2)))), "E") == [20, 40]


async def test_an_error_comes_once_after_the_answers_before_it() -> None:
    models = World(many=many(), after=after())
    infer = models.infer

    async def breaking(request):  # type: ignore[no-untyped-def]
        if request.inputs["i"].ravel()[0] == 2:
            raise EngineFailedError("two is too much")
        if request.inputs["i"].ravel()[0] == 3:
            await asyncio.Event().wait()
        return await infer(request)

    models.infer = breaking  # type: ignore[method-assign]
    responses = await models.ensemble(LINE).stream(asking(A=row(1, 2, 3)))
    with pytest.raises(EngineFailedError, match="two is too much"):
        await read_all(responses)
    assert await responses.read() is None
    await until(lambda: models["many"].closed == 1)


async def test_closing_ends_all_steps() -> None:
    models = World(many=many(), after=after())
    models["after"].hold = asyncio.Event()
    responses = await models.ensemble(LINE).stream(asking(A=row(1, 2, 3)))
    await until(lambda: len(models["after"].asked) == 3)
    responses.close()
    await until(lambda: models["many"].closed == 1)
    assert models["after"].cancelled == 3
    assert await responses.read() is None


async def test_a_slow_reader_holds_the_steps_back() -> None:
    models = World(many=many(), after=after())
    responses = await models.ensemble(LINE).stream(asking(A=row(*range(1000))))
    for _ in range(1000):
        await asyncio.sleep(0)
    assert len(models["after"].asked) < 3 * AHEAD
    assert values(await read_all(responses)) == [10 * number for number in range(1000)]


async def test_the_last_answer_is_final_where_it_is_known_to_be() -> None:
    """Where the decoupled model has ended before what follows its last answer is done."""
    models = World(many=many(), after=after())
    models["after"].hold = asyncio.Event()
    responses = await models.ensemble(LINE).stream(asking(A=row(1, 2)))
    await until(lambda: models["many"].ended == 1)
    models["after"].hold.set()
    assert [bool(response.outputs) for response in await read_all(responses)] == [True, True]
