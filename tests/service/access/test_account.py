"""What a tenant may claim, and what reaches the models of its calls."""

import asyncio
import re
from dataclasses import replace

import numpy as np
import pytest

from service.access.accounts import Accounts
from service.access.billing import Billing
from service.access.keys import digest_of
from service.access.ledger import Ledger
from service.api.hints import hints_of
from service.api.v2_parameters import settle
from service.errors import EngineFailedError, NotAllowedError, QuotaExceededError
from service.telemetry.tenants import TenantCounters
from service.tenant_settings import TenantSettings, WindowSettings
from service.types import ANYONE, Hints, InferRequest, InferResponse, Tenant, Timing
from tests.service.cache.generations import cached, greedy
from tests.service.generation.echoes import events_of


def opened(**settings: object) -> tuple[Billing, TenantCounters, Accounts]:
    counters = TenantCounters()
    tenant = TenantSettings.model_validate({"keys": [digest_of(b"k").hex()], **settings})
    accounts = Accounts({"app": tenant}, lambda _, limits: Ledger(limits, lambda: 0.0), counters)
    return Billing(accounts), counters, accounts


def request(model: str = "m", priority: int = 0, min_quality: float = 0.0) -> InferRequest:
    hints = Hints(tenant=Tenant("app"), min_quality=min_quality)
    return InferRequest(model, {"x": np.zeros(1)}, priority=priority, hints=hints)


async def answer(asked: InferRequest) -> InferResponse:
    return InferResponse(asked.model, "1", {}, timing=Timing(engine_seconds=0.25), tokens=7)


@pytest.mark.parametrize(("claimed", "given"), [(0, 0), (1, 2), (2, 2), (3, 3)])
async def test_no_more_urgent_than_it_may_claim(claimed: int, given: int) -> None:
    billing, _, _ = opened(priority=2)
    asked = request(priority=claimed)
    await billing.infer(asked, answer)
    assert asked.priority == given


@pytest.mark.parametrize(("asked_for", "floor"), [(0.0, 0.9), (0.95, 0.95)])
async def test_the_quality_floor_is_raised_and_the_rest_stays(asked_for: float, floor: float) -> None:
    billing, _, _ = opened(min_quality=0.9, weight=3.0)
    asked = request(min_quality=asked_for)
    await billing.infer(asked, answer)
    assert (asked.hints.min_quality, asked.hints.tenant.weight) == (floor, 3.0)


async def test_steps_are_on_the_bill_of_the_call_once() -> None:
    billing, counters, _ = opened(limits=[WindowSettings(seconds=9, requests=1)])

    async def ensemble(asked: InferRequest) -> InferResponse:
        steps = [InferRequest(name, {}, hints=asked.hints) for name in ("one", "two")]
        await asyncio.gather(*(billing.infer(step, inner) for step in steps))
        return InferResponse(asked.model, "1", {}, timing=Timing(engine_seconds=0.75), tokens=7)

    async def inner(asked: InferRequest) -> InferResponse:
        await billing.infer(InferRequest("leaf", {}, hints=asked.hints), answer)
        await asyncio.sleep(0)
        return InferResponse(asked.model, "1", {}, timing=Timing(engine_seconds=0.25), tokens=7)

    await billing.infer(request(), ensemble)
    assert (counters.requests["app"], counters.tokens["app"], counters.engine_seconds["app"]) == (1, 7, 0.5)


def parts() -> list[InferRequest]:
    hints = Hints(tenant=Tenant("app"))
    return [InferRequest("m", {}, priority=1, hints=hints) for _ in range(3)]


async def test_the_parts_of_a_call_are_admitted_once_and_all_paid_for() -> None:
    billing, counters, accounts = opened(max_concurrency=1, min_quality=0.5, priority=2)
    asked = parts()
    assert [one.tokens for one in await billing.infer_all(asked, answer)] == [7, 7, 7]
    assert [(one.priority, one.hints.min_quality) for one in asked] == [(2, 0.5)] * 3
    assert (counters.requests["app"], counters.tokens["app"], counters.engine_seconds["app"]) == (1, 21, 0.75)
    assert [one.running for one in accounts] == [0]


async def test_parts_that_were_done_before_another_failed_are_paid_for() -> None:
    billing, counters, accounts = opened(max_concurrency=1)
    numbers = iter(range(3))

    async def broken(asked: InferRequest) -> InferResponse:
        if next(numbers) == 1:
            await asyncio.sleep(0)
            raise EngineFailedError("the second part is poison")
        return await answer(asked)

    with pytest.raises(EngineFailedError):
        await billing.infer_all(parts(), broken)
    assert (counters.requests["app"], counters.engine_seconds["app"]) == (1, 0.5)
    assert [one.running for one in accounts] == [0]


async def test_a_call_that_fails_pays_for_the_steps_that_were_done() -> None:
    billing, counters, accounts = opened()

    async def broken(asked: InferRequest) -> InferResponse:
        await billing.infer(InferRequest("one", {}, hints=asked.hints), answer)
        raise EngineFailedError("the second step is broken")

    with pytest.raises(EngineFailedError):
        await billing.infer(request(), broken)
    assert (counters.engine_seconds["app"], [one.running for one in accounts]) == (0.25, [0])


async def test_a_call_that_is_given_up_frees_its_place() -> None:
    billing, _, accounts = opened(max_concurrency=1)

    async def endless(_: InferRequest) -> InferResponse:
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    asking = asyncio.create_task(billing.infer(request(), endless))
    await asyncio.sleep(0)
    with pytest.raises(QuotaExceededError, match="as many requests as may are under way, 1"):
        await billing.infer(request(), answer)
    asking.cancel()
    await asyncio.wait([asking])
    assert [one.running for one in accounts] == [0]
    assert (await billing.infer(request(), answer)).tokens == 7


async def test_only_the_routes_that_it_may_ask() -> None:
    billing, counters, _ = opened(routes=["m"])
    assert (await billing.infer(request("m"), answer)).model == "m"
    with pytest.raises(NotAllowedError, match="this key may not ask 'other'; it may ask m"):
        await billing.infer(request("other"), answer)
    assert counters.refusals[("app", "route")] == 1


async def test_questions_of_nobody_go_through() -> None:
    billing, counters, _ = opened(max_concurrency=1)
    asked = InferRequest("m", {})
    assert (await billing.infer(asked, answer)).tokens == 7
    assert (asked.hints.bill, dict(counters.requests)) == (None, {})


def test_keys_reach_neither_rules_nor_models() -> None:
    headers = {b"authorization": b"Bearer by_k", b"x-api-key": b"by_k", b"x-team": b"a"}
    assert dict(hints_of(headers).headers) == {b"x-team": b"a"}
    asked = InferRequest("m", {})
    settle(asked, headers, 0.0, 1.0, ANYONE, re.compile(".*", re.IGNORECASE))
    assert asked.parameters == {"x-team": "a"}


async def test_who_takes_over_generated_text_pays_for_the_rest_of_it() -> None:
    billing, counters, _ = opened()
    async with cached(echo__step_ms=2) as world:
        asked = replace(greedy("a" * 20), hints=Hints(tenant=Tenant("app")))
        first, second = [await billing.generate(asked, world.ask) for _ in range(2)]
        await first.read()
        first.close()
        paid = counters.engine_seconds["app"]
        await events_of(second)
        cost = world.made[0].timing.engine_seconds
    assert (second.cached.verdict, len(world.made)) == ("coalesced", 1)
    assert paid < counters.engine_seconds["app"] == pytest.approx(cost)
