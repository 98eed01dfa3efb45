"""A request through a route: who is asked, in which order, and what the caller is told."""

import asyncio
from random import Random

import numpy as np
import pytest

from service.errors import (
    DeadlineExceededError,
    DeadlineHopelessError,
    EngineFailedError,
    InvalidRequestError,
    ModelUnavailableError,
    NotFoundError,
    QueueFullError,
)
from service.routing.breaker import FAILURES, FIRST_PAUSE
from service.routing.budget import FLOOR, SECONDS
from service.routing.policies import Policy, Variant, fastest, ordered, weighted
from service.routing.rules import Rule
from service.types import Candidate, Hints, Prediction, SequenceStep
from tests.service.routing.doubles import Setting, until

BROKEN = EngineFailedError("the engine failed")
AWAY = ModelUnavailableError("no connection")
SLOW = Prediction(queue=0.4, seconds=0.5, p95=0.6)
CHEAP = Variant("small", quality=0.9, step_down=True)


async def test_the_first_answers_and_says_how_it_was_chosen() -> None:
    setting = Setting("large", "small")
    response = await setting.infer()
    assert response.model == "large"
    routed = response.routed
    assert (routed.route, routed.rule, routed.policy, routed.step_down) == ("both", "", "ordered", "")
    assert (routed.tries, routed.candidates, routed.hedged) == ((), (), False)
    assert setting.counts == [1, 0]
    assert setting.series("batchyard_route_requests_total") == [
        'batchyard_route_requests_total{route="both",variant="large"} 1.0'
    ]


async def test_the_fastest_is_the_one_predicted_to_answer_first() -> None:
    setting = Setting("large", "small", policy=fastest)
    setting["large"].prediction, setting["small"].prediction = SLOW, Prediction(0.0, 0.1, 0.2)
    assert (await setting.infer()).model == "small"
    assert setting["large"].costs == [1], "rows, as its door estimates them"


async def test_weighted_is_sticky_by_its_header() -> None:
    setting = Setting(Variant("a", weight=3), Variant("b", weight=1), policy=weighted, sticky_header=b"x-user-id")
    answered: list[str] = []
    for number in range(400):
        hints = Hints(headers={b"x-user-id": b"%d" % (number % 100)})
        answered.append((await setting.infer(hints=hints)).model)
    assert answered[:100] * 4 == answered
    assert 60 <= answered[:100].count("a") <= 90


async def test_weighted_without_the_header_is_by_chance() -> None:
    setting = Setting(Variant("a", weight=3), Variant("b", weight=1), policy=weighted, sticky_header=b"x-user-id")
    answered = [(await setting.infer()).model for _ in range(1000)]
    assert answered.count("a") == pytest.approx(750, abs=80)


async def test_a_rule_narrows_the_variants() -> None:
    rules = (Rule("canary", frozenset({"small"}), headers={b"x-canary": b"yes"}),)
    setting = Setting("large", "small", rules=rules)
    response = await setting.infer(hints=Hints(headers={b"x-canary": b"yes"}))
    assert (response.model, response.routed.rule) == ("small", "canary")
    assert (await setting.infer()).model == "large"
    setting["small"].fault = "it is being unloaded"
    error = await setting.fail(ModelUnavailableError, hints=Hints(headers={b"x-canary": b"yes"}))
    assert str(error) == "route 'both' has no variant that is ready: small: it is being unloaded"


async def test_a_caller_may_name_its_variant() -> None:
    rules = (Rule("all", frozenset({"large"})),)
    setting = Setting("large", CHEAP, rules=rules)
    response = await setting.infer(hints=Hints(variant="small"))
    assert (response.model, response.routed.step_down, response.routed.rule) == ("small", "", "")
    error = await setting.fail(NotFoundError, hints=Hints(variant="tiny"))
    assert str(error).startswith("route 'both' has no variant 'tiny'; it has large, small: name one of them")
    setting["small"].errors = [AWAY]
    await setting.fail(ModelUnavailableError, hints=Hints(variant="small"))
    assert setting.counts == [0, 2], "nobody else is asked"


async def test_quality_bounds_what_may_answer() -> None:
    setting = Setting(Variant("a", quality=0.9), "b", Variant("c", quality=0.97), qualities=(1.0, 0.99, 1.0))
    assert (await setting.infer()).model == "a"
    assert (await setting.infer(hints=Hints(min_quality=0.95))).model == "b"
    error = await setting.fail(InvalidRequestError, hints=Hints(min_quality=0.999))
    assert error.param == "min_quality"
    assert str(error).endswith("has a quality of 0.999: a 0.9, b 0.99, c 0.97; ask for at most 0.99")


async def test_the_floor_of_the_route_holds_too() -> None:
    setting = Setting(Variant("a", quality=0.9), "b", min_quality=0.95)
    assert (await setting.infer()).model == "b"
    assert (await setting.infer(hints=Hints(min_quality=0.1))).model == "b"
    assert "lower the route's min_quality" in str(await setting.fail(InvalidRequestError, hints=Hints(variant="a")))


async def test_who_is_not_well_is_not_asked() -> None:
    setting = Setting("large", "small")
    setting["large"].fault = "it is being unloaded"
    assert (await setting.infer()).model == "small"
    del setting.catalog.models["small"]
    error = await setting.fail(ModelUnavailableError)
    assert "large: it is being unloaded; small: unknown model" in str(error)
    assert error.retry_after == 0.0


async def test_who_would_be_too_late_is_not_asked() -> None:
    setting = Setting("large", "small", policy=fastest)
    setting["large"].prediction, setting["small"].prediction = SLOW, Prediction(0.1, 0.2, 0.3)
    assert (await setting.infer(within=0.5)).model == "small"
    error = await setting.fail(DeadlineHopelessError, within=0.1)
    assert error.retry_after == pytest.approx(0.2)
    assert "large 600 ms, small 300 ms" in str(error)
    assert setting.counts == [0, 1], "refused before it cost anything"


async def test_an_idle_replica_has_the_last_word_on_deadlines() -> None:
    setting = Setting("large", "small", policy=fastest)
    setting["large"].prediction = Prediction(0.0, 0.5, 0.6)
    setting["small"].prediction = SLOW
    assert (await setting.infer(within=0.1)).model == "large"
    setting["large"].errors = [DeadlineHopelessError("too late", 0.5)]
    assert (await setting.fail(DeadlineHopelessError, within=0.1)).retry_after == 0.5
    setting["small"].prediction = Prediction(0.0, 0.05, 0.06)
    assert (await setting.infer(within=0.1)).model == "small", "who will be in time comes first"
    assert setting.counts == [2, 1]


async def test_it_steps_down_under_overload_and_says_so() -> None:
    setting = Setting(CHEAP, "large")
    assert (await setting.infer(within=0.5)).routed.step_down == ""
    setting["large"].prediction = SLOW
    response = await setting.infer(within=0.5)
    assert (response.model, response.routed.step_down) == ("small", "small:1")
    assert setting.counts == [1, 1]
    assert setting.series("batchyard_step_downs_total") == [
        'batchyard_step_downs_total{route="both",variant="small"} 1.0'
    ]
    error = await setting.fail(DeadlineHopelessError, within=0.5, hints=Hints(min_quality=0.95))
    assert error.retry_after == pytest.approx(0.1), "above the floor nobody can"
    setting["large"].prediction = Prediction()
    assert (await setting.infer(within=0.5)).model == "large"


async def test_it_steps_down_where_the_others_refuse_or_are_away() -> None:
    setting = Setting(CHEAP, "large")
    setting["large"].errors = [QueueFullError("full", 1.0)]
    response = await setting.infer()
    assert (response.routed.step_down, response.routed.tries) == ("small:1", ("large:1: full",))
    setting["large"].fault = "it is being unloaded"
    assert (await setting.infer()).routed.step_down == "small:1"


async def test_a_route_of_cheap_variants_only_does_not_step_down() -> None:
    setting = Setting(CHEAP)
    assert (await setting.infer()).routed.step_down == ""


async def test_refusals_go_on_to_the_next_and_cost_nothing() -> None:
    setting = Setting("a", "b", "c", policy=fastest, retry_budget=0.0)
    setting["a"].errors, setting["b"].errors = [QueueFullError("full", 1.0)], [QueueFullError("full", 0.5)]
    response = await setting.infer()
    assert (response.model, response.routed.tries) == ("c", ("a:1: full", "b:1: full"))
    setting["c"].errors = [QueueFullError("full", 2.0)]
    assert (await setting.fail(QueueFullError)).retry_after == 0.5
    assert setting.series("batchyard_retries_total") == []


@pytest.mark.parametrize("error", [BROKEN, AWAY])
async def test_a_failure_is_tried_once_elsewhere(error: EngineFailedError | ModelUnavailableError) -> None:
    setting = Setting("a", "b", "c")
    setting["a"].errors = [error]
    response = await setting.infer()
    assert (response.model, response.routed.tries) == ("b", (f"a:1: {error}",))
    assert response.outputs["OUT"].tolist() == [[1, 1]]
    setting["b"].errors = [EngineFailedError("this one too")]
    assert str(await setting.fail(EngineFailedError)) == "this one too"
    assert setting.counts == [2, 2, 0]
    assert setting.series("batchyard_retries_total") == [
        'batchyard_retries_total{outcome="answered",route="both"} 1.0',
        'batchyard_retries_total{outcome="failed",route="both"} 1.0',
    ]


async def test_a_failed_request_is_counted_once_where_it_failed_last() -> None:
    setting = Setting("a", "b")
    setting["a"].errors, setting["b"].errors = [BROKEN], [BROKEN, QueueFullError("full", 1.0)]
    await setting.fail(EngineFailedError)
    failures = 'nv_inference_request_failure{model="%s",version="1",reason="BACKEND"} 1'

    def counted() -> list[str]:
        return [line for line in setting.series("nv_inference_request_failure") if not line.endswith(" 0")]

    assert counted() == [failures % "b"]
    await setting.fail(EngineFailedError)
    assert sorted(counted()) == [failures % "a", failures % "b"]
    setting["a"].errors = [None]
    await setting.infer()
    assert len(counted()) == 2


@pytest.mark.parametrize(
    "error",
    [
        EngineFailedError("poison", retryable=False),
        InvalidRequestError("a value beyond the table"),
        DeadlineExceededError("late"),
    ],
)
async def test_what_is_at_fault_itself_is_not_tried_again(error: EngineFailedError) -> None:
    setting = Setting("a", "b")
    setting["a"].errors = [error]
    await setting.fail(type(error))
    assert setting.counts == [1, 0]


@pytest.mark.parametrize(("sequence", "counts"), [(SequenceStep("a"), [1, 0]), (None, [1, 1])])
async def test_sequences_are_never_tried_again(sequence: SequenceStep | None, counts: list[int]) -> None:
    setting = Setting("a", "b")
    setting["a"].errors = setting["b"].errors = [BROKEN]
    await setting.fail(EngineFailedError, sequence=sequence)
    assert setting.counts == counts


async def test_a_second_try_has_to_fit_into_the_deadline() -> None:
    setting = Setting("a", "b", "c")
    setting["a"].errors = [BROKEN]
    setting["b"].prediction = Prediction(0.0, 0.4, 0.6)
    setting["c"].fault = "it is being unloaded"
    await setting.fail(EngineFailedError, within=0.5)
    assert setting.counts == [1, 0, 0]
    setting["c"].fault = ""
    assert (await setting.infer(within=0.5)).model == "c"


async def test_second_tries_are_bounded() -> None:
    setting = Setting("a", "b", retry_budget=0.1)
    setting["a"].errors = [EngineFailedError("now and then"), None]
    setting["a"].errors *= 200
    for _ in range(399):
        try:
            await setting.infer()
        except EngineFailedError:
            continue
    assert len(setting["b"].asked) == pytest.approx(40 + FLOOR * SECONDS, abs=2)
    lost = setting.series('batchyard_retries_total{outcome="no_budget"')[0]
    assert float(lost.rsplit(" ", 1)[1]) == 200 - len(setting["b"].asked)


async def test_an_ill_replica_is_left_alone_and_tried_again_later() -> None:
    setting = Setting("a", "b")
    setting["a"].errors = [AWAY]
    for _ in range(3 * FAILURES):
        assert (await setting.infer()).model == "b"
    assert setting.counts == [FAILURES, 3 * FAILURES]
    state = 'batchyard_breaker_state{model="a",version="1"}'
    assert setting.series(state) == [f"{state} 2.0"]
    assert not setting.gateway.model("a").ready
    assert setting.gateway.model("both").ready
    setting.clock.now += FIRST_PAUSE
    assert setting.series(state) == [f"{state} 1.0"]
    setting["a"].errors = []
    assert (await setting.infer()).model == "a"
    assert setting.series(state) == [f"{state} 0.0"]


async def test_none_is_well_says_when_one_is_tried_again() -> None:
    setting = Setting("a", "b")
    setting["a"].errors = setting["b"].errors = [AWAY]
    for _ in range(FAILURES):
        await setting.fail(ModelUnavailableError)
    error = await setting.fail(ModelUnavailableError)
    assert error.retry_after == FIRST_PAUSE
    assert "a: no connection; b: no connection" in str(error)
    assert setting.counts == [FAILURES, FAILURES]


async def test_candidates_are_told_to_who_asks() -> None:
    setting = Setting("a", "b", "c", "d", Variant("e", quality=0.1), CHEAP, policy=fastest)
    setting["a"].errors = [BROKEN]
    setting["b"].prediction = SLOW
    setting["c"].fault = "it is being unloaded"
    routed = (await setting.infer(within=0.5, hints=Hints(explain=True, min_quality=0.2))).routed
    assert routed.candidates == (
        Candidate("e:1", Prediction(), "its quality is below 0.2"),
        Candidate("c", Prediction(), "it is being unloaded"),
        Candidate("b:1", SLOW, "it would be too late"),
        Candidate("a:1", Prediction(), "the engine failed"),
        Candidate("d:1", Prediction(), "chosen"),
        Candidate("small:1", Prediction(), "not needed"),
    )


async def test_who_was_left_out_by_a_rule_or_the_caller_is_told() -> None:
    setting = Setting("a", "b", rules=(Rule("canary", frozenset({"b"})),))
    by_rule = (await setting.infer(hints=Hints(explain=True))).routed
    assert by_rule.candidates[0] == Candidate("a:1", Prediction(), "left out by canary")
    by_caller = (await setting.infer(hints=Hints(explain=True, variant="a"))).routed
    assert by_caller.candidates[0] == Candidate("b:1", Prediction(), "left out by x-variant")


async def test_a_refusal_is_explained_to_who_asks() -> None:
    setting = Setting("a")
    setting["a"].prediction = SLOW
    error = await setting.fail(DeadlineHopelessError, within=0.1, hints=Hints(explain=True))
    assert error.routed.candidates == (Candidate("a:1", SLOW, "it would be too late"),)
    assert (await setting.fail(DeadlineHopelessError, within=0.1)).routed.candidates == ()


async def test_a_route_has_one_version_and_its_own_deadline() -> None:
    setting = Setting("a", default_timeout=0.5)
    assert (await setting.infer(version="1")).model == "a"
    assert "has no version '2'" in str(await setting.fail(NotFoundError, version="2"))
    assert setting.gateway.timeout_of("both") == 0.5
    assert setting.gateway.timeout_of("a") is None
    assert setting.gateway.timeout_of("nobody") is None


async def test_a_variant_that_is_loaded_anew_meanwhile_is_asked_again() -> None:
    setting, other = Setting("a", retry_budget=0.0), Setting("a")
    setting["a"].errors = [ModelUnavailableError("it is being unloaded")]
    setting["a"].hold = asyncio.Event()
    asking = asyncio.create_task(setting.infer())
    await until(lambda: bool(setting["a"].asked))
    setting.catalog.models["a"].versions["1"] = other.catalog.models["a"].versions["1"]
    setting["a"].hold.set()
    assert (await asking).model == "a"
    assert other.counts == [1]


async def test_the_request_itself_is_checked_once_it_is_known_who_answers() -> None:
    setting = Setting("a", "b")
    error = await setting.fail(InvalidRequestError, outputs=("NONE",))
    assert "unknown output 'NONE'" in str(error)
    assert setting.counts == [0, 0]
    assert np.array_equal((await setting.infer()).outputs["OUT"], [[1, 1]])


async def test_a_rule_whose_variants_are_left_out_says_so() -> None:
    setting = Setting("a", rules=(Rule("rule 1", frozenset({"gone"})),))
    assert str(await setting.fail(ModelUnavailableError)).endswith("has no variant that is ready: rule 1 leaves none")


async def test_whatever_happens_each_request_ends_once_and_is_counted_once() -> None:
    setting = Setting("a", "b", Variant("c", step_down=True), hedge=True, policy=fastest)
    chance = Random(7)
    errors = [None, None, BROKEN, QueueFullError("full", 1.0), EngineFailedError("poison", retryable=False)]
    for double in setting.doubles.values():
        double.errors = [chance.choice(errors) for _ in range(2000)]
        double.hold = asyncio.Event()

    async def ask(number: int) -> bool:
        hints = Hints(variant=chance.choice(["", "", "a"]), explain=chance.random() < 0.5)
        try:
            response = await setting.infer(hints=hints)
        except (EngineFailedError, QueueFullError, ModelUnavailableError):
            return False
        assert response.outputs["OUT"].tolist() == [[1, 1]]
        assert len([text for text in response.routed.tries if "full" not in text]) <= 1
        return True

    for _ in range(20):
        asking = [asyncio.create_task(ask(number)) for number in range(50)]
        await asyncio.sleep(0)
        for double in setting.doubles.values():
            assert double.hold is not None
            double.hold.set()
        answered = await asyncio.gather(*asking)
        setting.clock.now += 1.0
        assert True in answered
    success, failure = (_total(setting, f"nv_inference_request_{name}{{") for name in ("success", "failure"))
    assert success + failure == 1000
    assert success == _total(setting, "batchyard_route_requests_total{")
    assert all(not double.cancelled for double in setting.doubles.values())


def _total(setting: Setting, name: str) -> float:
    return sum(float(line.rsplit(" ", 1)[1]) for line in setting.series(name))


async def test_who_names_a_priority_is_judged_by_the_replica_which_knows_its_place() -> None:
    setting = Setting("a")
    setting["a"].prediction = SLOW
    assert (await setting.infer(within=0.1, priority=1)).model == "a"
    setting["a"].errors = [DeadlineHopelessError("too late", 0.5)]
    assert (await setting.fail(DeadlineHopelessError, within=0.1, priority=2)).retry_after == 0.5


async def test_the_others_are_looked_at_only_where_the_first_is_not_enough() -> None:
    setting = Setting("a", Variant("b", step_down=True), Variant("c", step_down=True))
    await setting.infer(within=0.5)
    assert [double.costs for double in setting.doubles.values()] == [[1], [], []]
    setting["a"].errors = [QueueFullError("full", 2.0)]
    setting["b"].prediction = SLOW
    assert (await setting.infer(within=0.5)).model == "c"
    setting["c"].prediction = Prediction(0.4, 0.5, 0.55)
    error = await setting.fail(DeadlineHopelessError, within=0.5)
    assert error.retry_after == pytest.approx(0.05)
    assert setting.counts == [3, 0, 1]
    setting["b"].fault = setting["c"].fault = "it is being unloaded"
    assert (await setting.fail(QueueFullError, within=0.5)).retry_after == 2.0


@pytest.mark.parametrize("policy", [ordered, weighted])
async def test_what_is_busy_keeps_its_load(policy: Policy) -> None:
    """On the same cores another model could not take it; it would only make both late."""
    setting = Setting(Variant("a", weight=1e9), Variant("b", weight=1e-9), CHEAP, policy=policy)
    setting["a"].errors = [QueueFullError("full", 1.0)]
    assert (await setting.infer()).routed.step_down == "small:1"
    setting["a"].prediction = SLOW
    assert (await setting.infer(within=0.5)).routed.step_down == "small:1"
    assert (await setting.fail(DeadlineHopelessError, within=0.5, hints=Hints(min_quality=0.95))).retry_after > 0
    assert setting.counts == [1, 0, 2]
    setting["a"].prediction, setting["a"].errors = Prediction(), [BROKEN]
    assert (await setting.infer()).model == "b", "a failure is what the others are for"
