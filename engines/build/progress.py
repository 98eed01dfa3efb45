"""What a build shows: a progress bar per model, and a line per model when it is done."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

Show = Callable[[str, int, int], None]
"""Called with the step under way, the steps done and the steps in all."""


@contextmanager
def progress_bar(console: Console, name: str) -> Iterator[Show]:
    """A bar for the work on `name`, which goes when it ends; none where the console is no terminal."""
    columns = (
        TextColumn("{task.fields[name]}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", name=escape(name), total=None)

        def show(step: str, done: int, total: int) -> None:
            progress.update(task, description=escape(step), completed=done, total=total)

        yield show


def say(console: Console, name: str, text: str, style: str = "") -> None:
    """One line about `name`."""
    console.print(f"[bold]{escape(name)}[/bold]: {escape(text)}", style=style, highlight=False, soft_wrap=True)
