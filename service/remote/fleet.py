"""The servers of one model as they come and go: connected, probed, and closed once they have answered."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any

from tritonclient.grpc.model_config_pb2 import ModelConfig as ModelConfigProto

from engines.errors import EngineError, EngineUnreachableError
from engines.remote_model import Address, RemoteServers
from service.remote.endpoint import Endpoint
from service.remote.pool import Pool
from service.remote.probing import Agree, Prober

LOGGER = logging.getLogger("batchyard.remote")

CONFIG_TIMEOUT = 5.0
"""Seconds for a model's configuration."""
_LOOKUP_TIMEOUT = 5.0
_LEAVE = 600.0
"""Seconds that a server which left the name has for what it holds."""

Resolve = Callable[[str, int], Awaitable[set[str]]]
"""The IP addresses that a name has now; raises `OSError`."""


async def look_up(name: str, port: int) -> set[str]:
    """By the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return {str(entry[4][0]) for entry in found}


class Fleet:
    """Used on the event loop, where it is made as well."""

    def __init__(
        self, servers: RemoteServers, pool: Pool, clock: Callable[[], float], resolve: Resolve = look_up
    ) -> None:
        self._servers = servers
        self._pool = pool
        self._clock = clock
        self._resolve = resolve
        self._tasks: dict[object, asyncio.Task[None]] = {}
        self._leaving: set[Endpoint] = set()
        self._prober: Prober | None = None

    async def open(self) -> ModelConfigProto:
        """Connects, and returns the model's configuration as the first server has it that answers. Raises
        `EngineUnreachableError` with all reasons where none does."""
        self.update(await self._addresses())
        asked = {asyncio.create_task(one.remote.config(CONFIG_TIMEOUT)): one for one in self._pool.endpoints.values()}
        try:
            for task in asyncio.as_completed(asked):
                try:
                    return await task
                except EngineError:
                    continue
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        said = [f"{one.url}: {task.exception()}" for task, one in asked.items() if not task.cancelled()]
        raise EngineUnreachableError("; ".join(said) or "its name has no address now")

    async def watch(self, agree: Agree) -> None:
        """Probes all, and goes on probing, until it is closed. `agree`: see there."""
        self._prober = Prober(self._pool, agree, self._clock)
        endpoints = list(self._pool.endpoints.values())
        await asyncio.gather(*(self._prober.probe(endpoint) for endpoint in endpoints))
        for endpoint in endpoints:
            self._start(endpoint, self._prober.watch(endpoint))
        if self._servers.name is not None:
            self._start("name", self._refresh())

    def _start(self, key: object, work: Coroutine[Any, Any, None]) -> None:
        self._tasks[key] = asyncio.create_task(work)

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(self._servers.refresh)
            try:
                found = await self._addresses()
            except EngineUnreachableError as error:
                LOGGER.warning("model %s goes on with the addresses it has: %s", self._servers.model, error)
            else:
                self.update(found)

    async def _addresses(self) -> tuple[Address, ...]:
        name = self._servers.name
        if name is None:
            return self._servers.addresses
        try:
            async with asyncio.timeout(_LOOKUP_TIMEOUT):
                hosts = await self._resolve(name.host, name.port)
        except (OSError, UnicodeError) as error:  # TimeoutError is an OSError
            raise EngineUnreachableError(f"name {name.host!r} cannot be looked up: {error or 'no answer'}") from error
        named = name.server_name or name.host
        return tuple(replace(name, host=host, server_name=named) for host in sorted(hosts))

    def update(self, addresses: tuple[Address, ...]) -> None:
        """Has these servers from now on: who is new joins after a good probe, who is missing is asked no more."""
        known = self._pool.endpoints
        wanted = {str(address): address for address in addresses}
        for url in known.keys() - wanted.keys():
            self._retire(known.pop(url))
        for url in [url for url in wanted if url not in known]:
            endpoint = known[url] = Endpoint(url, self._servers.connect(wanted[url]))
            if self._prober is not None:
                self._start(endpoint, self._prober.watch(endpoint))

    def _retire(self, endpoint: Endpoint) -> None:
        LOGGER.info("model %s leaves %s: its name no longer has it", self._servers.model, endpoint.url)
        endpoint.leaving = True
        self._stop(endpoint)
        self._leaving.add(endpoint)
        self._start(endpoint, self._drain(endpoint))

    async def _drain(self, endpoint: Endpoint) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE):
                await endpoint.idle.wait()
        endpoint.cut()
        await endpoint.remote.close()
        self._leaving.discard(endpoint)
        self._tasks.pop(endpoint, None)

    def _stop(self, key: object) -> None:
        task = self._tasks.pop(key, None)
        if task is not None:
            task.cancel()

    @property
    def held(self) -> int:
        """Requests that its servers have."""
        return sum(endpoint.in_flight for endpoint in self._all())

    async def close(self, grace: float) -> None:
        """Waits at most `grace` seconds for what the servers have, then ends the rest and closes all connections."""
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await asyncio.gather(*(endpoint.idle.wait() for endpoint in self._all()))
        tasks = list(self._tasks.values())
        for key in list(self._tasks):
            self._stop(key)
        await asyncio.gather(*tasks, return_exceptions=True)
        for endpoint in self._all():  # meanwhile its name may have brought others
            endpoint.cut()
            await endpoint.remote.close()

    def _all(self) -> list[Endpoint]:
        return [*self._pool.endpoints.values(), *self._leaving]
