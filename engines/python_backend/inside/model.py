"""The code of a Python model: loaded, and run as Triton runs it."""

import asyncio
import inspect
import sys
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

from engines.python_backend.inside.errors import MisbehavedError

CLASS = "TritonPythonModel"


def load(file: Path) -> Any:
    """The class `TritonPythonModel` of a file, which may import what lies beside it and in the folder above."""
    version = file.parent
    sys.path += [str(version), str(version.parent)]
    package = ModuleType(version.name)
    package.__path__ = [str(version)]
    sys.modules[package.__name__] = package
    spec = spec_from_file_location(f"{package.__name__}.{file.stem}", file)
    if spec is None or spec.loader is None:
        raise MisbehavedError(f"{file.name} is no Python code; name it with the ending .py")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    try:
        return getattr(module, CLASS)
    except AttributeError:
        raise MisbehavedError(f"{file.name} has no class {CLASS}; define it there") from None


class Loop:
    """An event loop on a thread of its own, started when it is first needed."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> "Future[Any]":
        """Has the loop run it."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            Thread(target=_run_forever, args=(self._loop,), name="coroutines", daemon=True).start()
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def stop(self) -> None:
        """Runs nothing any more."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)


def _run_forever(loop: asyncio.AbstractEventLoop) -> None:
    """Until it is stopped, and not by a coroutine that raises `SystemExit`: others wait for theirs."""
    while True:
        try:
            loop.run_forever()
            loop.close()
            return
        except (SystemExit, KeyboardInterrupt):
            pass


class Model:
    """One instance of the model `instance`; `kind`: its class."""

    def __init__(self, instance: str, kind: Any, *, decoupled: bool) -> None:
        self._instance = instance
        self._model = kind()
        self._decoupled = decoupled
        self._loop = Loop()

    def initialize(self, arguments: dict[str, str]) -> None:
        """Calls `initialize`, where there is one."""
        if hasattr(self._model, "initialize"):
            self._model.initialize(arguments)

    def execute(self, requests: Sequence[Any]) -> "Sequence[Any] | Future[Any]":
        """What `execute` returns, one entry a request; of a decoupled model that is a coroutine, its future."""
        if not hasattr(self._model, "execute"):
            raise MisbehavedError(f"{CLASS} has no method execute; define it")
        returned = self._model.execute(list(requests))
        if inspect.iscoroutine(returned):
            future = self._loop.run(returned)
            if self._decoupled:
                return future
            returned = future.result()
        return self._responses(returned, len(requests))

    def finalize(self) -> None:
        """Calls `finalize`, where there is one."""
        self._loop.stop()
        if hasattr(self._model, "finalize"):
            self._model.finalize()

    def _responses(self, returned: Any, wanted: int) -> Sequence[Any]:
        if returned is None:
            return [None] * wanted
        if self._decoupled:
            raise MisbehavedError(
                f"Python model '{self._instance}' is using the decoupled mode and the execute function must return "
                "None."
            )
        if not isinstance(returned, list | tuple):
            raise MisbehavedError(f"Expected a list in the execute return, found type '{type(returned)}'.")
        if len(returned) != wanted:
            raise MisbehavedError(
                "Number of InferenceResponse objects do not match the number of InferenceRequest objects. "
                f"InferenceRequest(s) size is:{wanted}, and InferenceResponse(s) size is:{len(returned)}\n"
            )
        return list(returned)
