"""A generator in a process of its own, for SDKs that hold Python's lock while they compute.

While such an SDK steps, no other thread of its process runs: the gateway would stand still for most of each step. A
crash of the SDK ends that process only.
"""

import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

from google.protobuf import text_format

import engines.errors
from engines.apart_messages import (
    Add,
    Answer,
    Cancel,
    Command,
    Done,
    Failed,
    Line,
    Open,
    Ready,
    Step,
    Stepped,
    WarmUp,
)
from engines.base import EngineOptions
from engines.errors import EngineError, ExecutionError
from engines.generation import Feature
from engines.text_generator import GenerationRequest, GeneratorLimits, RequestId, TokenEvent

Expected = TypeVar("Expected", Ready, Done, Stepped)

_CHILD = "engines.apart_child"
_END = 5.0
"""Seconds that the process gets to end by itself."""


@dataclass(frozen=True, slots=True)
class Known:
    """What this process knows of the generator in the other one. `vocabulary`: token ids are below it."""

    limits: GeneratorLimits
    features: frozenset[Feature]
    vocabulary: int


Check = Callable[[GenerationRequest, Known], None]
"""`TextGenerator.check`, done here: any thread may call it, also during a step."""


class ApartGenerator:
    """Implements `TextGenerator` over a process that opens `module`'s generator; raises as its `open_generator`."""

    def __init__(self, options: EngineOptions, module: str, check: Check) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", _CHILD, str(theirs.fileno()), module]
        with theirs:
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)  # noqa: S603
        self._line: Line[Answer] = Line(ours, Answer)
        self._check = check
        self._closed = False
        self._ids = count()
        config = text_format.MessageToString(options.config.proto)
        try:
            ready = self._ask(
                Open(str(options.folder), config, options.device, options.threads, options.lone_threads), Ready
            )
        except BaseException:
            self.close()
            raise
        self._known = Known(ready.limits, frozenset(ready.features), ready.vocabulary)
        self.limits = self._known.limits
        self.features = self._known.features

    @property
    def process_id(self) -> int:
        """Of the process that generates."""
        return self._process.pid

    def warm_up(self) -> None:
        """See `TextGenerator`."""
        self._ask(WarmUp(), Done)

    def check(self, request: GenerationRequest) -> None:
        """See `TextGenerator`."""
        self._check(request, self._known)

    def add(self, request: GenerationRequest) -> RequestId:
        """See `TextGenerator`; what goes wrong is raised by the next step, so that it need not be waited for here."""
        request_id = next(self._ids)
        self._tell(Add.of(request_id, request))
        return request_id

    def step(self) -> Sequence[TokenEvent]:
        """See `TextGenerator`; waits without Python's lock."""
        return self._ask(Step(), Stepped).events

    def cancel(self, request_id: RequestId) -> None:
        """See `TextGenerator`."""
        self._tell(Cancel(request_id))

    def close(self) -> None:
        """Hangs up, which ends the process."""
        if self._closed:
            return
        self._closed = True
        self._line.close()
        try:
            self._process.wait(_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _tell(self, command: Add | Cancel) -> None:
        """Sends what is not answered; where the process is gone, the next step says so."""
        with suppress(OSError):
            self._line.send(command)

    def _ask(self, command: Command, wanted: type[Expected]) -> Expected:
        if self._closed:
            raise EngineError("the engine is closed")
        try:
            self._line.send(command)
            answer = self._line.receive()
        except (EOFError, OSError) as error:
            raise self._gone() from error
        if isinstance(answer, Failed):
            raise getattr(engines.errors, answer.kind)(answer.message)
        if not isinstance(answer, wanted):
            raise ExecutionError(f"the engine's process answered with {type(answer).__name__}")
        return answer

    def _gone(self) -> ExecutionError:
        self.close()
        code = self._process.returncode
        reason = f"by signal {-code}" if code < 0 else f"with code {code}"
        return ExecutionError(f"the engine's process ended {reason}; its words, if any, are in the log above")
