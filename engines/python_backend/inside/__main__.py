"""The process of a Python model: `python -m engines.python_backend.inside COMMANDS TALK MODEL`."""

import faulthandler
import os
import signal
import socket
import sys
import traceback
from contextlib import suppress
from threading import Thread

from engines.apart_life import end_with_parent
from engines.apart_line import Line
from engines.python_backend.inside.parent import Parent
from engines.python_backend.inside.worker import Worker
from engines.python_backend.messages import Command, ToModel


def main() -> None:
    """Obeys until the model is finalized, or the parent is gone.

    What stops the parent stops this one by hanging up, so signals are ignored. What the model prints is for the log.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    end_with_parent()
    faulthandler.enable()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    commands, talk = (socket.socket(fileno=int(descriptor)) for descriptor in sys.argv[1:3])
    for connection in (commands, talk):
        connection.set_inheritable(False)
    parent = Parent(Line(talk, ToModel))
    worker = Worker(Line(commands, Command), parent)
    Thread(target=_listen, args=(parent, worker), name="answers", daemon=True).start()
    with suppress(EOFError, OSError):
        worker.obey()
        return
    os._exit(0)


def _listen(parent: Parent, worker: Worker) -> None:
    code = 0
    try:
        parent.listen()
    except (EOFError, OSError):
        pass
    except Exception:  # without its answers the model would wait for ever
        traceback.print_exc()
        code = 1
    if not worker.is_ending:
        os._exit(code)


if __name__ == "__main__":
    main()
