"""Asking one server of a pool, and where it turns out to be gone, another, once."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from engines.errors import (
    EngineBusyError,
    EngineError,
    EngineTimeoutError,
    EngineUnreachableError,
    ExecutionError,
    InvalidInputError,
)
from service.remote.endpoint import Endpoint
from service.remote.pool import Pool

Answer = TypeVar("Answer")
Work = Callable[[Endpoint, float], Coroutine[Any, Any, Answer]]
"""Asks an endpoint; the number is the seconds that are left. Raises `EngineError`."""

_PATIENT = 1.0
"""Seconds that a request must have had for a missed deadline to speak against the server."""


class Asking:
    """Used on the event loop. Raises `EngineError`; cancelling whoever awaits gives the request up there as well."""

    def __init__(self, pool: Pool, clock: Callable[[], float]) -> None:
        self._pool = pool
        self._clock = clock

    async def anywhere(self, work: Work[Answer], deadline: float) -> Answer:
        """Asks whoever would answer first. Who refuses is passed over; who is gone is made up for once."""
        asked: list[Endpoint] = []
        refusals: list[EngineBusyError] = []
        gone: EngineUnreachableError | None = None
        while True:
            endpoint = self._next(asked, refusals, gone)
            asked.append(endpoint)
            try:
                return await self.at(endpoint, work, deadline)
            except EngineBusyError as error:
                refusals.append(error)
            except EngineUnreachableError as error:
                if gone is not None:
                    raise
                gone = error
                endpoint.retries += 1

    def _next(
        self, asked: list[Endpoint], refusals: list[EngineBusyError], gone: EngineUnreachableError | None
    ) -> Endpoint:
        """Where all were asked, raises what the best of them said."""
        try:
            return self._pool.choose(asked)
        except EngineError:
            if refusals:
                raise min(refusals, key=lambda error: error.retry_after) from None
            if gone is not None:
                raise gone from None
            raise

    async def at(self, endpoint: Endpoint, work: Work[Answer], deadline: float) -> Answer:
        """Asks this one. An answer that comes after it was given up is dropped with its task."""
        start = self._clock()
        if deadline <= start:
            raise EngineTimeoutError("the deadline passed before it was asked")
        load = endpoint.enter()
        endpoint.asked += 1
        try:
            answer = await self.of(endpoint, work(endpoint, deadline - start))
        except EngineTimeoutError as error:
            if self._clock() - start >= _PATIENT:
                self._pool.failed(endpoint, str(error))
            raise
        except (EngineBusyError, EngineUnreachableError):
            raise
        except ExecutionError as error:
            self._pool.failed(endpoint, str(error))
            raise
        finally:
            endpoint.leave()
        self._pool.answered(endpoint, load, self._clock() - start)
        return answer

    async def of(self, endpoint: Endpoint, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Awaits what this one is asked for, and notes whether it is there at all."""
        try:
            answer = await _apart(endpoint, work)
        except EngineUnreachableError as error:
            self._pool.eject(endpoint, str(error))
            raise
        except (EngineBusyError, InvalidInputError):
            endpoint.heard = self._clock()
            raise
        endpoint.heard = self._clock()
        return answer


async def _apart(endpoint: Endpoint, work: Coroutine[Any, Any, Answer]) -> Answer:
    """Runs it as a task that `Pool.cut` can end, which is then an `EngineUnreachableError`."""
    task = asyncio.create_task(work)
    endpoint.running.add(task)
    try:
        return await task
    except asyncio.CancelledError:
        waiting = asyncio.current_task()
        if waiting is not None and waiting.cancelling():
            raise
        raise EngineUnreachableError(endpoint.fault or "the connection was closed") from None
    finally:
        endpoint.running.discard(task)
