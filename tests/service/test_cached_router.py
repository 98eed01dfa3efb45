"""Answers of tensors out of the cache: which, for whom, how long, and how many work for them."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from service.cache.entry import Entry, sealed
from service.catalog import Model
from service.digests import Digests
from service.errors import DeadlineHopelessError, EngineFailedError, NotFoundError
from service.request_key import RequestKeys
from service.routing.policies import Variant
from service.routing.rules import Rule
from service.routing.served import Served
from service.types import CacheControl, Hints, InferRequest, SequenceStep, Tenant, Timing
from tests.service.cached import TTL, CachedSetting, Shelf
from tests.service.routing.doubles import until


async def test_the_second_time_the_answer_is_there() -> None:
    setting = CachedSetting("a")
    first = await setting.infer("a")
    setting.now.now += 7.9
    second = await setting.infer("a")
    assert (first.cached.verdict, second.cached.verdict) == ("miss", "hit")
    assert second.cached.age == pytest.approx(7.9)
    assert (second.model, second.version, second.engine) == (first.model, first.version, first.engine)
    assert np.array_equal(second.outputs["OUT"], first.outputs["OUT"])
    assert setting.counts == [1]


async def test_an_answer_has_its_time() -> None:
    setting = CachedSetting("a")
    await setting.infer("a")
    setting.now.now += TTL
    assert (await setting.infer("a")).cached.verdict == "miss"
    assert setting.counts == [2]


async def test_no_caller_can_change_the_answer_of_another() -> None:
    setting = CachedSetting("a")
    first = await setting.infer("a")
    first.outputs["OUT"][:] = 9
    second = await setting.infer("a")
    second.outputs["OUT"] = second.outputs["OUT"] + 1
    second.outputs["MORE"] = second.outputs["OUT"]
    third = await setting.infer("a")
    assert list(third.outputs) == ["OUT"]
    assert third.outputs["OUT"].tolist() == [[1, 1]]


async def test_what_is_not_enabled_is_not_looked_at() -> None:
    setting = CachedSetting("a")
    setting.catalog.models["a"].config = None
    assert await setting.verdicts([setting.request("a")] * 2) == ["", ""]


async def test_a_route_is_cached_as_it_says_whatever_its_variants_say() -> None:
    setting = CachedSetting("a", "b")
    assert await setting.verdicts([setting.request()] * 2) == ["miss", "hit"]
    setting.catalog.narrow(replace(setting.catalog.routes["both"], cache=False))
    assert await setting.verdicts([setting.request()] * 2) == ["", ""]


async def test_steps_of_sequences_are_never_looked_up() -> None:
    setting = CachedSetting("a")
    steps = [setting.request("a", sequence=SequenceStep(1, start=True)) for _ in range(2)]
    assert await setting.verdicts(steps) == ["", ""]
    assert setting.counts == [2]


@pytest.mark.parametrize(
    ("said", "verdicts"), [("no-store", ["miss", "", "hit"]), ("no-cache", ["miss", "miss", "hit"])]
)
async def test_what_callers_say_of_the_cache(said: CacheControl, verdicts: list[str]) -> None:
    setting = CachedSetting("a")
    requests = [setting.request("a"), setting.request("a", hints=Hints(cache=said)), setting.request("a")]
    assert await setting.verdicts(requests) == verdicts


async def test_no_cache_stores_what_is_new() -> None:
    setting = CachedSetting("a")
    await setting.infer("a")
    setting.now.now += 50
    await setting.infer("a", hints=Hints(cache="no-cache"))
    setting.now.now += 50
    assert (await setting.infer("a")).cached.age == 50


async def test_errors_are_told_and_forgotten() -> None:
    setting = CachedSetting("a")
    setting["a"].errors = [EngineFailedError("broken"), None]
    await setting.fail(EngineFailedError, "a")
    assert await setting.verdicts([setting.request("a")] * 2) == ["miss", "hit"]


async def test_a_thousand_equal_misses_are_one_execution() -> None:
    setting = CachedSetting("a")
    setting["a"].hold = asyncio.Event()
    asked = [asyncio.create_task(setting.infer("a")) for _ in range(1000)]
    await until(lambda: setting.counts == [1])
    setting["a"].hold.set()
    responses = await asyncio.gather(*asked)
    assert setting.counts == [1]
    assert [response.cached.verdict for response in responses] == ["miss"] + ["coalesced"] * 999
    assert sum(response.timing.engine_seconds for response in responses[1:]) == 0
    assert len({id(response.outputs) for response in responses}) == 1000


async def test_the_leader_may_leave() -> None:
    setting = CachedSetting("a")
    setting["a"].hold = asyncio.Event()
    setting["a"].timing = Timing(engine_seconds=2.0)
    leader, follower = (asyncio.create_task(setting.infer("a")) for _ in range(2))
    await until(lambda: setting.counts == [1])
    leader.cancel()
    await asyncio.sleep(0)
    setting["a"].hold.set()
    answer = await follower
    assert (answer.cached.verdict, answer.timing.engine_seconds) == ("miss", 2.0), "whoever stays pays"
    assert (setting.counts, setting["a"].cancelled) == ([1], 0)


async def test_when_the_last_one_leaves_the_work_is_dropped() -> None:
    setting = CachedSetting("a")
    setting["a"].hold = asyncio.Event()
    both = [asyncio.create_task(setting.infer("a")) for _ in range(2)]
    await until(lambda: setting.counts == [1])
    for one in both:
        one.cancel()
    await until(lambda: setting["a"].cancelled == 1)
    await asyncio.gather(*both, return_exceptions=True)


async def test_who_has_more_time_goes_on_alone() -> None:
    setting = CachedSetting("a")
    setting["a"].hold = asyncio.Event()
    setting["a"].errors = [DeadlineHopelessError("too late", 1.0), None]
    hasty = asyncio.create_task(setting.infer("a", within=5))
    calm = asyncio.create_task(setting.infer("a", within=20))
    await until(lambda: setting.counts == [1])
    setting["a"].hold.set()
    with pytest.raises(DeadlineHopelessError):
        await hasty
    assert (await calm).cached.verdict == "miss"


async def test_a_cheaper_variant_that_stepped_in_is_not_remembered() -> None:
    setting = CachedSetting("a", Variant("b", step_down=True))
    setting["a"].errors = [DeadlineHopelessError("busy", 1.0), None]
    first = await setting.infer()
    assert first.routed.step_down == "b:1"
    assert await setting.verdicts([setting.request()] * 2) == ["miss", "hit"]
    assert setting.counts == [2, 1]


async def test_an_answer_of_while_a_model_was_loaded_is_not_kept() -> None:
    setting = CachedSetting("a")
    setting["a"].hold = asyncio.Event()
    asked = asyncio.create_task(setting.infer("a"))
    await until(lambda: setting.counts == [1])
    setting.catalog.show(setting.catalog.models["a"])
    setting["a"].hold.set()
    assert (await asked).cached.verdict == "miss"
    assert (await setting.infer("a")).cached.verdict == "miss"


async def test_an_answer_of_another_model_than_the_key_says_is_not_kept() -> None:
    shelf = Shelf()
    setting = CachedSetting("a", store=shelf)
    shelf.hold = asyncio.Event()
    asked = asyncio.create_task(setting.infer("a"))
    await until(lambda: shelf.asked == 1)
    setting.catalog.show(setting.catalog.models["a"])
    shelf.hold.set()
    assert (await asked).cached.verdict == "miss"
    assert shelf.values == {}


async def test_names_of_versions_that_a_route_has_not_are_not_remembered() -> None:
    setting = CachedSetting("a")
    digests = Digests(setting.catalog)
    keys = RequestKeys(setting.catalog)
    found = [keys.of(setting.request(version=str(number))) for number in range(1, 9)]
    assert [key is not None for key in found] == [True] + [False] * 7
    assert digests.of("both", "1") == digests.of("both") is not None
    await setting.fail(NotFoundError, version="2")


async def test_an_answer_that_bytes_cannot_say_is_told_all_the_same() -> None:
    setting = CachedSetting("a", store=Shelf())
    setting["a"].parameters = {"large": 2**70, "half": "\ud800"}
    found = [await setting.infer("a") for _ in range(2)]
    assert [one.cached.verdict for one in found] == ["miss", "hit"]
    assert dict(found[1].parameters) == {"large": 2**70, "half": "\ud800"}


async def test_tenants_share_nothing() -> None:
    setting = CachedSetting("a")
    ours, theirs = Hints(tenant=Tenant("ours")), Hints(tenant=Tenant("theirs"))
    requests = [setting.request("a", hints=hints) for hints in (ours, theirs, ours, theirs)]
    assert await setting.verdicts(requests) == ["miss", "miss", "hit", "hit"]
    setting["a"].hold = asyncio.Event()
    array = {"IN": np.full((1, 2), 3, np.float32)}
    flying = [
        asyncio.create_task(setting.gateway.infer(InferRequest("a", dict(array), hints=h))) for h in (ours, theirs)
    ]
    await until(lambda: setting.counts == [4])
    setting["a"].hold.set()
    assert [(await one).cached.verdict for one in flying] == ["miss", "miss"]


async def test_another_gateway_has_it_from_the_store() -> None:
    shelf = Shelf()
    one, other = CachedSetting("a", store=shelf), CachedSetting("a", store=shelf)
    served = one.catalog.models["a"].versions["1"]
    other.catalog.show(
        replace(other.catalog.models["a"], versions={"1": Served(served.intake, other["a"], digest=served.digest)})
    )
    await one.infer("a")
    other.now.now += 12
    found = await asyncio.gather(*(other.infer("a") for _ in range(5)))
    assert [response.cached.verdict for response in found] == ["hit"] * 5
    assert found[0].cached.age == 12
    assert (other.counts, shelf.asked) == ([0], 2)
    other.now.now += TTL - 12
    assert (await other.infer("a")).cached.verdict == "miss"


async def test_a_store_full_of_rubbish_is_a_store_full_of_nothing() -> None:
    shelf = Shelf()
    setting = CachedSetting("a", store=shelf)
    await setting.infer("a")
    ((key, value),) = shelf.values.items()
    rubbish = [
        b"",
        b"x" * 100,
        value[:-1],
        sealed(key[::-1], Entry(b"", 0, 0)),
        sealed(key, Entry(b"no answer", 1e9, 0)),
    ]
    for one in rubbish:
        shelf.values[key] = one
        setting.catalog.show(setting.catalog.models["a"])
        fresh = CachedSetting("a", store=shelf)
        fresh.catalog.show(replace(fresh.catalog.models["a"], versions=dict(setting.catalog.models["a"].versions)))
        assert (await fresh.infer("a")).cached.verdict == "miss"


async def test_statistics_count_as_triton_counts() -> None:
    setting = CachedSetting("a")
    setting.metrics.begin("a", "1")
    for _ in range(3):
        await setting.infer("a")
    (found,) = setting.gateway.statistics("a")
    assert (found.success.count, found.cache_hit.count, found.cache_miss.count) == (3, 2, 1)
    assert found.compute_infer.count == 1
    assert setting.series("batchyard_cache_hits_total{") == ['batchyard_cache_hits_total{model="a",version="1"} 2.0']
    setting.metrics.begin("a", "1")
    await setting.infer("a")
    (found,) = setting.gateway.statistics("a")
    assert found.cache_hit.count == 1, "statistics begin anew with a model, metrics go on"
    assert setting.series("batchyard_cache_hits_total{") == ['batchyard_cache_hits_total{model="a",version="1"} 3.0']
    assert setting.series("nv_cache_num_misses_per_model{") == [
        'nv_cache_num_misses_per_model{model="a",version="1"} 1'
    ]


async def test_headers_and_priority_count_where_rules_look_at_them() -> None:
    rule = Rule("canary", frozenset({"b"}), headers={b"x-canary": b"yes"})
    setting = CachedSetting("a", "b", rules=(rule,))
    plain, canary, other = ({}, {b"x-canary": b"yes"}, {b"x-other": b"1"})
    requests = [setting.request(hints=Hints(headers)) for headers in (plain, canary, other)]
    assert await setting.verdicts(requests) == ["miss", "miss", "hit"]
    urgent = setting.request(priority=1)
    assert await setting.verdicts([urgent]) == ["hit"]
    ruled = replace(setting.catalog.routes["both"], rules=(Rule("urgent", frozenset({"b"}), priority=1),))
    setting.catalog.narrow(ruled)
    requests = [setting.request(), urgent, setting.request(), urgent]
    assert await setting.verdicts(requests) == ["miss", "miss", "hit", "hit"]


async def test_a_breaker_that_opens_empties_no_cache() -> None:
    setting = CachedSetting("a", "b")
    await setting.infer()
    setting["a"].fault = "it is ill"
    assert (await setting.infer()).cached.verdict == "hit"


async def test_another_version_behind_the_name_is_another_answer() -> None:
    setting = CachedSetting("a", "b")
    await setting.infer()
    served = setting.catalog.models["b"].versions["1"]
    setting.catalog.show(Model("b", setting.catalog.models["b"].config, {"1": Served(served.intake, served.replica)}))
    assert (await setting.infer()).cached.verdict == "miss"
