"""Many generations, cut at random points: what is left of them is nothing, and the others are whole."""

import asyncio
import gc
import random

import pytest

from service.generation.replica import GeneratorReplica
from tests.service.generation.echoes import asking, echoing, events_of, text_of, usage_of


async def _follow(replica: GeneratorReplica, text: str, cut_after: int | None) -> str | None:
    generation = await replica.generate(asking(text))
    try:
        if cut_after is None:
            events = await events_of(generation)
            assert usage_of(events).completion_tokens == len(text.encode())
            return text_of(events)
        for _ in range(cut_after):
            await generation.read()
        return None
    finally:
        generation.close()


@pytest.mark.parametrize("seed", range(4))
async def test_a_hundred_cut_at_random_points_leave_nothing_behind(seed: int) -> None:
    chance = random.Random(seed)
    async with echoing(generation__max_sequences=8, generation__kv_cache_tokens=600) as replica:
        texts = [f"{index}: " + "你好 " * chance.randrange(1, 12) for index in range(150)]
        cuts = [None if chance.random() < 1 / 3 else chance.randrange(6) for _ in texts]
        tasks = [asyncio.create_task(_follow(replica, text, cut)) for text, cut in zip(texts, cuts, strict=True)]
        for _task in tasks:
            if chance.random() < 0.1:
                await asyncio.sleep(0)
        answers = await asyncio.gather(*tasks)
        assert answers == [text if cut is None else None for text, cut in zip(texts, cuts, strict=True)]
        assert replica._admission.all() == []
        assert replica._admission._tokens == 0
        last = await events_of(await replica.generate(asking("last")))
        assert text_of(last) == "last"
        worker = replica._worker
        assert not worker._tickets
        assert not worker._ids
        assert not worker._generator._running  # type: ignore[union-attr]
    gc.collect()
    assert len(asyncio.all_tasks()) == 1
