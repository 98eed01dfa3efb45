"""The test of the test: a planted lie of each kind is caught, by its own name."""

import asyncio
from collections.abc import Iterator, Sequence
from random import Random

import numpy as np
import orjson
import pytest

from tests.chaos.callers import Callers, judge
from tests.chaos.ledger import Ledger, Outcome, disagreements
from tests.chaos.proxy import DoubleLater, Lie, Once, Swap, cut, double, drop, honest, lying_proxy, trail
from tests.chaos.questions import APART, PLAIN, TEXT, Answer, Questions, text_body
from tests.chaos.repository import write_repository
from tests.chaos.server import Server, start

CALLERS, EACH = 6, 10
PATIENCE = 5.0
"""Seconds: the server answers within milliseconds, so what takes longer was dropped, also on a busy machine."""
SETTLES = 20.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    repository = tmp_path_factory.mktemp("chaos") / "repository"
    write_repository(repository)
    made = asyncio.run(start(repository, [PLAIN]))
    yield made
    made.tell_to_stop()
    code, _, left = asyncio.run(made.ended())
    made.kill()
    assert (code, left) == (0, [])


async def asked_through(server: Server, lie: Lie, callers_count: int = CALLERS) -> tuple[Ledger, Sequence[str]]:
    """Good requests through a proxy; the ledger, and where the server's counters differ."""
    ledger = Ledger(f"lie-{id(lie)}")
    before = await server.settled(SETTLES)
    async with lying_proxy(server.host, server.port, lie) as proxy:
        callers = Callers("127.0.0.1", proxy.port, ledger, PATIENCE)
        questions = Questions(Random(5))

        async def caller() -> None:
            for _ in range(EACH):
                await callers.ask(questions.good(PLAIN))

        async with asyncio.TaskGroup() as group:
            for _ in range(callers_count):
                group.create_task(caller())
        await callers.leave()
    counted = (await server.settled(SETTLES)).count.copy()
    counted.subtract(before.count)
    return ledger, [*disagreements(ledger, counted)]


def seen(ledger: Ledger) -> dict[Outcome, int]:
    return {outcome: ledger.count(outcome) for outcome in Outcome if ledger.count(outcome)}


async def test_without_a_lie_all_is_right_and_agrees(server: Server) -> None:
    ledger, differences = await asked_through(server, honest)
    assert seen(ledger) == {Outcome.RIGHT: CALLERS * EACH}
    assert (differences, ledger.lost, ledger.surprises, ledger.odd) == ([], [], [], [])


async def test_a_dropped_answer_is_a_hang_and_the_counters_say_so(server: Server) -> None:
    ledger, differences = await asked_through(server, Once(17, drop))
    assert seen(ledger) == {Outcome.RIGHT: CALLERS * EACH - 1, Outcome.HANG: 1}
    assert len(ledger.surprises) == 1
    assert differences


async def test_an_answer_cut_in_the_middle_is_lost(server: Server) -> None:
    ledger, differences = await asked_through(server, Once(17, cut))
    assert seen(ledger) == {Outcome.RIGHT: CALLERS * EACH - 1, Outcome.CUT: 1}
    assert len(ledger.lost) == 1
    assert differences


@pytest.mark.parametrize(
    "lie", [Once(17, double), Once(CALLERS * EACH - 1, double), Once(17, trail), DoubleLater()],
    ids=["at once", "last of all", "bytes behind it", "in front of the next"],
)  # fmt: skip
async def test_a_double_answer_is_twice(server: Server, lie: Lie) -> None:
    ledger, differences = await asked_through(server, lie)
    assert seen(ledger) == {Outcome.RIGHT: CALLERS * EACH - 1, Outcome.TWICE: 1}
    assert len(ledger.surprises) == 1
    assert not differences, "the server answered once"


async def test_swapped_answers_are_wrong(server: Server) -> None:
    ledger, _ = await asked_through(server, Swap())
    assert seen(ledger) == {Outcome.RIGHT: CALLERS * EACH - 2, Outcome.WRONG: 2}


async def test_a_request_outside_the_ledger_is_a_disagreement(server: Server) -> None:
    unseen = Callers(server.host, server.port, Ledger("unseen"))

    async def one_more(answer: object) -> None:
        await unseen.ask(Questions(Random(6)).good(PLAIN))
        await honest(answer)  # type: ignore[arg-type]

    ledger, differences = await asked_through(server, Once(3, one_more))
    await unseen.leave()
    assert seen(ledger) == {Outcome.RIGHT: CALLERS * EACH}
    assert differences == [f"{PLAIN}: the server counted 1 more than callers saw, 0 callers hung up"]


def test_swapped_rows_within_an_answer_are_wrong() -> None:
    questions = Questions(Random(1))
    bodies = (questions.good(APART) for _ in range(100))
    question = next(one for one in bodies if b'"shape":[3,3],"data"' in one.body)
    (given,) = orjson.loads(question.body)["inputs"]
    numbers = given["data"]
    for data, outcome in ((numbers, Outcome.RIGHT), (numbers[3:6] + numbers[:3] + numbers[6:], Outcome.WRONG)):
        body = orjson.dumps({"outputs": [{**given, "name": "OUTPUT0", "data": data}]})
        assert judge(question, Answer(200, {}, body))[0] is outcome


def test_the_vector_of_another_text_is_wrong() -> None:
    vectors = np.eye(2, dtype=np.float32)
    question = Questions(Random(1), [("one", vectors[0]), ("two", vectors[1])]).good(TEXT)
    which = int(question.body == text_body("two"))
    body = '{{"outputs":[{{"name":"embedding","datatype":"FP32","shape":[1,2],"data":{}}}]}}'
    for number, outcome in ((which, Outcome.RIGHT), (1 - which, Outcome.WRONG)):
        answer = Answer(200, {}, body.format(vectors[number].tolist()).encode())
        assert judge(question, answer)[0] is outcome


@pytest.mark.parametrize(
    ("status", "headers", "body", "outcome"),
    [
        (429, {"retry-after": "1"}, b'{"error":"the queue is full: 9 parts wait, 9 may"}', Outcome.REFUSED),
        (429, {}, b'{"error":"the queue is full: 9 parts wait, 9 may"}', Outcome.ERROR),
        (500, {}, b'{"error":"the engine failed on this request: row 0"}', Outcome.ERROR),
        (500, {}, b'{"error":"internal error; the log has it under id 7"}', Outcome.WRONG),
        (500, {}, b"Internal Server Error", Outcome.WRONG),
        (400, {}, b'{"error":""}', Outcome.WRONG),
        (200, {}, b"not JSON", Outcome.WRONG),
        (1, {}, b"", Outcome.WRONG),
    ],
)
def test_what_an_answer_is(status: int, headers: dict[str, str], body: bytes, outcome: Outcome) -> None:
    assert judge(Questions(Random(1)).good(PLAIN), Answer(status, headers, body))[0] is outcome
