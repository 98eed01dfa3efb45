"""The process of a Python model as the gateway sees it: started, asked, listened to, and ended whatever it does."""

import logging
import select
import socket
import struct
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from threading import Condition, Lock, Thread, Timer
from typing import TypeVar

import msgspec

from engines.apart_life import END_SECONDS, end, ending, start
from engines.apart_line import NO_TENSORS, Line
from engines.errors import EngineError, EngineLostError, ExecutionError, InvalidInputError
from engines.python_backend.messages import Command, Done, Executed, Failed, Finalize, FromModel, Reply, ToModel
from engines.tensor import Array, Tensors

Expected = TypeVar("Expected")

FINALIZE_SECONDS = 10.0
"""Seconds that `finalize` gets."""
SEND_SECONDS = 30
"""Seconds in which some of a message must move on; a process that is alive does not stop in the middle of one."""

_LOG = logging.getLogger("engines.python_backend")
_CHILD = "engines.python_backend.inside"
_STUCK = "stood still in the middle of a message and was ended"
_CONFUSED = "could not be understood and was ended"


@dataclass(frozen=True, slots=True)
class Listener:
    """Who listens to a process. `heard` takes what it says unasked, `lost` is told when it is gone, both on the thread
    that listens: they must not block. `waits`: does it wait for somebody else, so that its silence is no fault?
    """

    heard: Callable[[FromModel, dict[str, Array]], None]
    lost: Callable[[EngineLostError], None]
    waits: Callable[[], bool] = lambda: False


class ModelProcess:
    """`ask` and `close` are for one thread, `tell` for any. `clock` in seconds."""

    def __init__(
        self,
        name: str,
        environment: Mapping[str, str],
        listener: Listener,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._listener = listener
        self._clock = clock
        self._last_sign = clock()
        self._telling = Lock()
        self._changed = Condition()
        self._heard = 0
        self._loss = ""
        self._closing = self._closed = self._gone = False
        self._connections, self._process = start(_CHILD, name, environment, connections=2)
        for connection in self._connections:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_SECONDS, 0))
        commands, talk = self._connections
        commands.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", SEND_SECONDS, 0))
        self._replied = select.poll()
        self._replied.register(commands, select.POLLIN)
        self._commands: Line[Reply] = Line(commands, Reply)
        self._talk: Line[FromModel] = Line(talk, FromModel)
        self._listening = Thread(target=self._listen, name=f"{name}: listener", daemon=True)
        self._listening.start()
        Thread(target=self._hang_up_after, name=f"{name}: end", daemon=True).start()

    @property
    def id(self) -> int:
        """The process id."""
        return self._process.pid

    def ask(
        self, command: Command, wanted: type[Expected], patience: float, tensors: Tensors = NO_TENSORS
    ) -> tuple[Expected | Failed, dict[str, Array]]:
        """The reply to a command, and its tensors. A process that gives no sign of life for `patience` is ended.

        What the process said unasked before it replied has been heard when this returns.
        """
        if self._closed:
            raise EngineError("the engine is closed")
        if self._loss:
            raise self._lost(idle=True)
        self._last_sign = self._clock()
        reply, found = self._exchange(command, tensors, patience)
        if isinstance(reply, Executed | Failed) and reply.said > self._heard:
            with self._changed:
                self._changed.wait_for(lambda: self._heard >= reply.said or self._gone, patience)
        if not isinstance(reply, wanted | Failed):
            raise ExecutionError(f"the model's process replied with {type(reply).__name__}")
        return reply, found

    def tell(self, message: ToModel, tensors: Tensors = NO_TENSORS) -> None:
        """Sends; where the process is gone or takes nothing in, the listener hears of it."""
        with self._telling:
            try:
                self._talk.send(message, tensors)
            except BlockingIOError:
                self._kill(_STUCK)
            except OSError:
                pass

    def close(self) -> None:
        """Finalizes the model, and ends its process; may be called twice."""
        if self._closed:
            return
        self._closing = True
        timer = Timer(FINALIZE_SECONDS, self._kill, ["was ended, since it did not finalize in time"])
        timer.start()
        with suppress(EngineError):
            self.ask(Finalize(), Done, FINALIZE_SECONDS)
        timer.cancel()
        self._closed = True
        end(self._process)
        self._listening.join()
        self._close_connections()

    def _exchange(self, command: Command, tensors: Tensors, patience: float) -> tuple[Reply, dict[str, Array]]:
        sent = False
        try:
            self._commands.send(command, tensors)
            sent = True
            self._await_reply(patience)
            return self._commands.receive()
        except BlockingIOError:
            self._kill(_STUCK)
        except (EOFError, OSError):
            pass
        except EngineError:  # of tensors that cannot be sent; nothing was
            raise
        except (ValueError, TypeError, OverflowError, msgspec.MsgspecError) as error:
            if not sent:  # a text or number that has no form on the line
                raise InvalidInputError(f"the request cannot be sent to the model: {error}") from error
            self._kill(_CONFUSED)
        except BaseException:  # the rest of the reply would be taken for the next one
            self._kill(_CONFUSED)
            raise
        raise self._lost(idle=False)

    def _await_reply(self, patience: float) -> None:
        """Until there is one, or none will come."""
        while not self._replied.poll(max(0.0, self._last_sign + patience - self._clock()) * 1000):
            if self._listener.waits():
                self._last_sign = self._clock()
            elif self._clock() - self._last_sign >= patience:
                remedy = "where the model may take longer, raise batchyard.watchdog_ms"
                self._kill(f"gave no sign of life for {patience:.3g} s and was ended; {remedy}")

    def _listen(self) -> None:
        try:
            while True:
                message, tensors = self._talk.receive()
                self._last_sign = self._clock()
                self._listener.heard(message, tensors)
                with self._changed:
                    self._heard += 1
                    self._changed.notify_all()
        except (EOFError, OSError):
            pass
        except Exception:
            _LOG.exception("listening to the process of a model failed")
            self._kill(_CONFUSED)
        finally:
            self._mourn()

    def _mourn(self) -> None:
        """The process is gone, or hung up and will be."""
        end(self._process)
        fate = f"the model's process {ending(self._process)}; its words, if any, are in the log above"
        with self._changed:
            self._loss = self._loss or ("the model was closed before it answered" if self._closing else fate)
            self._gone = True
            self._changed.notify_all()
        self._listener.lost(EngineLostError(self._loss))

    def _lost(self, *, idle: bool) -> EngineLostError:
        """The process is gone. `idle`: before it was asked."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._gone, END_SECONDS):
                self._kill("hung up and was ended")
                self._changed.wait_for(lambda: self._gone, 2 * END_SECONDS)
        self._close_connections()
        return EngineLostError(self._loss, idle=idle)

    def _hang_up_after(self) -> None:
        """Ends the listening also where a process that the model started keeps the other end open."""
        self._process.wait()
        self._hang_up()

    def _kill(self, reason: str) -> None:
        self._loss = self._loss or f"the model's process {reason}"
        self._process.kill()
        self._hang_up()

    def _close_connections(self) -> None:
        for connection in self._connections:
            connection.close()

    def _hang_up(self) -> None:
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
