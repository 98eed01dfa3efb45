"""What is done to a model while it serves, and what is remembered of it."""

from functools import partial

from service.replacing import Replacing


async def test_one_waits_for_what_the_one_before_it_replaced() -> None:
    replacing = Replacing()
    order: list[str] = []
    for number in (1, 2, 3):
        async with replacing.alone("m"):
            order.append(f"begin {number}")
            replacing.retire("m", [], partial(order.append, f"closed {number}"))
    await replacing.finish(5.0)
    assert order == ["begin 1", "closed 1", "begin 2", "closed 2", "begin 3", "closed 3"]


async def test_nothing_is_remembered_of_a_model_to_which_nothing_is_done() -> None:
    replacing = Replacing()
    for number in range(100):
        async with replacing.alone(str(number)):
            replacing.retire(str(number), [], lambda: None)
    await replacing.finish(5.0)
    async with replacing.alone("m"):
        assert len(replacing._locks) == 1
    assert not replacing._draining
