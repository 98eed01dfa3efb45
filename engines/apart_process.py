"""A process that runs an engine: started, asked, and ended whatever it does."""

from contextlib import suppress
from typing import Literal, TypeVar

from google.protobuf import text_format

import engines.errors
from engines import Backend
from engines.apart_life import end, ending, start
from engines.apart_line import NO_TENSORS, Line
from engines.apart_messages import Add, Answer, Cancel, Command, Failed, Open
from engines.apart_watchdog import OPENING_SECONDS
from engines.base import EngineOptions
from engines.errors import EngineError, EngineLostError, ExecutionError
from engines.tensor import Array, Tensors

Expected = TypeVar("Expected")

_CHILD = "engines.apart_child"


def open_apart(
    options: EngineOptions, contents: Literal["engine", "generator"], backend: Backend, wanted: type[Expected]
) -> tuple["ApartProcess", Expected]:
    """A process that has opened what `options` describe, and what it says of that; raises what opening it raises."""
    process = ApartProcess(options.config.name)
    config = text_format.MessageToString(options.config.proto)
    command = Open(contents, backend, str(options.folder), config, options.device, options.threads)
    try:
        return process, process.ask(command, wanted, OPENING_SECONDS)[0]
    except BaseException:
        process.close()
        raise


class ApartProcess:
    """Used by one thread. Raises the engine's own errors, and `EngineLostError` where the process ended or was ended.

    The process ends with this one, however that ends: its standard input, of which it reads nothing, closes then.
    `name` is for those who list the machine's processes.
    """

    def __init__(self, name: str) -> None:
        (connection,), self._process = start(_CHILD, name)
        self._line = Line[Answer](connection, Answer)
        self._patience = OPENING_SECONDS
        self._closed = False
        self._was_stuck = False

    @property
    def id(self) -> int:
        """The process id."""
        return self._process.pid

    def ask(
        self, command: Command, wanted: type[Expected], seconds: float, tensors: Tensors = NO_TENSORS
    ) -> tuple[Expected, dict[str, Array]]:
        """The answer to a command, and its tensors. A process that makes no progress for `seconds` is ended."""
        if self._closed:
            raise EngineError("the engine is closed")
        answer, answered = self._exchange(command, tensors, seconds)
        if isinstance(answer, Failed):
            raise getattr(engines.errors, answer.kind)(answer.message)
        if not isinstance(answer, wanted):
            raise ExecutionError(f"the engine's process answered with {type(answer).__name__}")
        return answer, answered

    def check(self) -> None:
        """Raises `EngineLostError` where the process has ended by itself, or was killed, since it was last asked."""
        if not self._closed and self._process.poll() is not None:
            raise self._lost(idle=True)

    def tell(self, command: Add | Cancel) -> None:
        """Sends what is not answered; where the process is gone, the next question says so."""
        with suppress(OSError):
            try:
                self._line.send(command)
            except TimeoutError:
                self._end_stuck()

    def close(self) -> None:
        """Hangs up, and kills a process that does not end then. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._line.close()
        end(self._process)

    def _exchange(self, command: Command, tensors: Tensors, seconds: float) -> tuple[Answer, dict[str, Array]]:
        self._patience = seconds
        self._line.wait_at_most(seconds)
        try:
            self._line.send(command, tensors)
            return self._line.receive()
        except TimeoutError as error:
            self._end_stuck()
            raise self._lost() from error
        except (EOFError, OSError) as error:
            raise self._lost() from error
        except EngineError:  # of tensors that cannot be sent; nothing was
            raise
        except BaseException:  # the rest of the answer would be taken for the next one
            self.close()
            raise

    def _end_stuck(self) -> None:
        self._was_stuck = True
        self._process.kill()

    def _lost(self, *, idle: bool = False) -> EngineLostError:
        self.close()
        if self._was_stuck:
            remedy = "where a batch may take longer, raise batchyard.watchdog_ms"
            return EngineLostError(
                f"the engine's process made no progress for {self._patience:.3g} s and was ended; {remedy}"
            )
        fate = ending(self._process)
        return EngineLostError(f"the engine's process {fate}; its words, if any, are in the log above", idle=idle)
