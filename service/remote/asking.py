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
)
from service.remote.endpoint import Endpoint
from service.remote.pool import Pool

Answer = TypeVar("Answer")
Work = Callable[[Endpoint, float], Coroutine[Any, Any, Answer]]
"""Asks an endpoint; the number is the seconds that are left. Raises `EngineError`."""

_PATIENT = 1.0
"""Seconds that a request must have had for a missed deadline to speak against the server."""
_CLOSED = "the connection was closed"


class Asking:
    """Used on the event loop. Raises `EngineError`; cancelling whoever awaits gives the request up there as well."""

    def __init__(self, pool: Pool, clock: Callable[[], float]) -> None:
        self._pool = pool
        self._clock = clock

    async def anywhere(self, work: Work[Answer], deadline: float) -> Answer:
        """Asks whoever would answer first. Who refuses is passed over; who is gone is made up for once."""
        asked: list[Endpoint] = []
        refusals: list[tuple[float, str]] = []
        gone = ""
        while True:
            endpoint = self._next(asked, refusals, gone)
            asked.append(endpoint)
            try:
                return await self.at(endpoint, work, deadline)
            except EngineBusyError as error:
                refusals.append((error.retry_after, str(error)))
            except EngineUnreachableError as error:
                if gone:
                    raise
                gone = str(error)
                endpoint.retries += 1

    def _next(self, asked: list[Endpoint], refusals: list[tuple[float, str]], gone: str) -> Endpoint:
        """Where all were asked, raises what the best of them said: anew, for an error that was kept would be part of a
        reference cycle with the request."""
        try:
            return self._pool.choose(asked)
        except EngineError:
            if refusals:
                seconds, text = min(refusals)
                raise EngineBusyError(text, seconds) from None
            if gone:
                raise EngineUnreachableError(gone) from None
            raise

    async def at(self, endpoint: Endpoint, work: Work[Answer], deadline: float) -> Answer:
        """Asks this one."""
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
            answer = await _unless_cut(endpoint, work)
        except EngineUnreachableError as error:
            self._pool.eject(endpoint, str(error))
            raise
        except EngineTimeoutError:
            raise
        except EngineError:
            endpoint.heard = self._clock()
            raise
        endpoint.heard = self._clock()
        return answer


async def _unless_cut(endpoint: Endpoint, work: Coroutine[Any, Any, Answer]) -> Answer:
    """Awaits it; where `Endpoint.cut` ends it, or its connection is closed, that is an `EngineUnreachableError`."""
    asked = asyncio.timeout(None)
    endpoint.running.add(asked)
    try:
        async with asked:
            return await work
    except TimeoutError:
        raise EngineUnreachableError(endpoint.fault or _CLOSED) from None
    except asyncio.CancelledError:
        waiting = asyncio.current_task()
        if waiting is not None and waiting.cancelling():
            raise
        raise EngineUnreachableError(endpoint.fault or _CLOSED) from None
    finally:
        endpoint.running.discard(asked)
