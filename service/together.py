"""Several questions of one call, asked at once."""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeVar

Answer = TypeVar("Answer")


async def together(asked: Iterable[Coroutine[Any, Any, Answer]]) -> Sequence[Answer]:
    """All answers, in order; when one fails the others are cancelled, and its error is raised."""
    tasks = [asyncio.create_task(one) for one in asked]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        raise
    finally:
        tasks.clear()  # an error would refer to itself by them
