"""Models whose servers cannot be asked yet: opened as soon as one of them answers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from engines.errors import EngineError, EngineUnreachableError
from engines.repository import ModelEntry
from service.catalog import Catalog, Model
from service.opening import Machine
from service.opening_remote import BACKEND, Observe, open_remote_model

LOGGER = logging.getLogger("batchyard.runtime")

EVERY = 1.0
"""Seconds between two tries."""

Opening = Callable[[], Awaitable[Model]]
"""Opens a model; raises `EngineError`: `EngineUnreachableError` where a later try may succeed."""


class Awaiting:
    """Used on the event loop."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[None], Model] = {}

    async def open(
        self, entry: ModelEntry, machine: Machine, observe: Observe, catalog: Catalog, arrived: Callable[[Model], None]
    ) -> Model:
        """The model, open; else with the reason why it is not. Where waiting helps, `arrived` is told of it later, if
        the catalog still has what this returned. `observe`: see `open_remote_model`."""
        name, config = entry.name, entry.config
        opening = partial(open_remote_model, entry, machine, observe)
        try:
            return await opening()
        except EngineUnreachableError as error:
            model = Model(name, config, reason=f"none of its servers can be asked: {error}")
            task = asyncio.create_task(_wait(model, opening, catalog, arrived))
            self._tasks[task] = model
            task.add_done_callback(self._tasks.pop)
            return model
        except EngineError as error:
            return Model(name, config, reason=str(error))
        except Exception as error:
            LOGGER.exception("opening %s failed", name)
            return Model(name, config, reason=f"opening it failed: {type(error).__name__}: {error}")

    def waits_for(self, model: Model) -> bool:
        """Is it to be opened once a server answers?"""
        return any(waiting is model for waiting in self._tasks.values())

    async def stop(self) -> None:
        """Waits for none any more."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _wait(model: Model, opening: Opening, catalog: Catalog, arrived: Callable[[Model], None]) -> None:
    while True:
        await asyncio.sleep(EVERY)
        if catalog.models.get(model.name) is not model:
            return
        try:
            found = await opening()
        except EngineUnreachableError as error:
            model.reason = f"none of its servers can be asked: {error}"
            continue
        except Exception as error:
            model.reason = str(error) if isinstance(error, EngineError) else f"opening it failed: {error!r}"
            LOGGER.exception("opening %s failed", model.name)
            return
        if catalog.models.get(model.name) is model:
            LOGGER.info("model %s is open", model.name)
            found.release = model.release
            arrived(found)
        else:
            await asyncio.gather(*(served.replica.close(0.0) for served in found.versions.values()))
        return


def is_remote(entry: ModelEntry) -> bool:
    """Is it a model that other servers run, and that can be opened?"""
    return entry.config is not None and entry.config.backend == BACKEND and bool(entry.versions)
