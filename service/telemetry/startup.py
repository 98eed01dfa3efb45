"""What happens while the server starts, told as log records; the command line shows them as progress."""

import logging
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

LOGGER = logging.getLogger("batchyard.startup")


def report_step(message: str, done: int, total: int) -> None:
    """Tells that `message` happened and `done` of `total` steps of the start are complete. Any thread may call it."""
    LOGGER.info(message, extra={"done": done, "total": total})


class ProgressHandler(logging.Handler):
    """Shows start-up steps for people, a line each, and on a terminal a bar under them. Between `start` and `stop`."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._console = Console(file=stream, highlight=False, soft_wrap=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=self._console, transient=True)
        self._task: TaskID | None = None

    def start(self) -> None:
        LOGGER.addHandler(self)
        LOGGER.propagate = False
        if self._console.is_terminal:
            self._progress.start()
            self._task = self._progress.add_task("starting", total=None)

    def stop(self) -> None:
        """Takes the bar away; may be called twice."""
        if self._task is not None:
            self._progress.stop()
        LOGGER.removeHandler(self)
        LOGGER.propagate = True

    def emit(self, record: logging.LogRecord) -> None:
        done, total = (record.__dict__.get(name) for name in ("done", "total"))
        self._console.print(f"{record.getMessage()} ({done} of {total})", markup=False)
        if self._task is not None:
            self._progress.update(self._task, completed=done, total=total)
