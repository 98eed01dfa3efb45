"""The one thread that an engine lives on: it opens, warms, runs and closes it."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

Result = TypeVar("Result")
Kept = TypeVar("Kept", covariant=True)


class Owner:
    """A daemon thread that does what it is told, in order. An SDK with a thread pool for each caller then has one."""

    def __init__(self, name: str) -> None:
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()

    def call(self, function: Callable[[], Result]) -> Result:
        """Runs `function` on the thread; blocks, and returns or raises what it does."""
        call = _Call(function, Future())
        self._work.put(call.run)
        return call.future.result()

    def start(self, function: Callable[[], None]) -> None:
        """Runs `function` on the thread, which ends after it."""
        self._work.put(function)
        self._work.put(None)

    def stop(self) -> None:
        """Ends the thread once it has done what it was told."""
        self._work.put(None)

    def join(self, timeout: float) -> None:
        """Waits at most `timeout` seconds for the thread to end."""
        self._thread.join(timeout)


@dataclass(frozen=True, slots=True)
class _Call(Generic[Result]):
    function: Callable[[], Result]
    future: Future[Result]

    def run(self) -> None:
        try:
            self.future.set_result(self.function())
        except BaseException as error:
            self.future.set_exception(error)


@dataclass(frozen=True, slots=True)
class Owned(Generic[Kept]):
    """An engine or a generator, the thread it lives on, and what opens another like it."""

    engine: Kept
    owner: Owner
    reopen: Callable[[], Kept]


def open_owned(name: str, create: Callable[[], Result]) -> Owned[Result]:
    """Opens an engine on a thread of its own; raises what `create` does."""
    owner = Owner(name)
    try:
        return Owned(owner.call(create), owner, create)
    except BaseException:
        owner.stop()
        raise
