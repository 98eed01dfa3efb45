"""How far a TensorRT build is: its phases lie within each other and say how many steps they have."""

from collections.abc import Callable
from threading import Lock
from typing import Any

from engines.tensorrt_api import TensorRt

PROGRESS_STEPS = 1000


class Progress:
    """Turns phases into steps of `PROGRESS_STEPS`, which never go back; called from the builder's threads.

    What `show` raises ends the build and is kept, as an exception must not pass through the builder.
    """

    def __init__(self, show: Callable[[int], None]) -> None:
        self._show = show
        self._lock = Lock()
        self._phases: dict[str, tuple[str | None, int, int]] = {}
        self._shown = -1
        self._failure: BaseException | None = None

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        with self._lock:
            self._phases[phase] = (parent, 0, max(1, steps))

    def step(self, phase: str, number: int) -> bool:
        """Step `number`, from 0, of a phase is done. False: stop building."""
        with self._lock:
            if phase in self._phases:
                parent, _, steps = self._phases[phase]
                self._phases[phase] = (parent, min(number + 1, steps), steps)
                self._tell(round(PROGRESS_STEPS * self._done(phase)))
            return self._failure is None

    def finish(self, phase: str) -> None:
        with self._lock:
            self._phases.pop(phase, None)

    def raise_failure(self) -> None:
        """Raises what `show` raised, if it did."""
        if self._failure is not None:
            raise self._failure

    def _done(self, phase: str) -> float:
        """The share of the whole that is done when `phase` is as far as it is."""
        parent, done, steps = self._phases[phase]
        share = done / steps
        while parent in self._phases:
            parent, done, steps = self._phases[parent]
            share = min(1.0, (done + share) / steps)
        return share

    def _tell(self, done: int) -> None:
        if done <= self._shown or self._failure is not None:
            return
        self._shown = done
        try:
            self._show(done)
        except BaseException as error:  # raised again by raise_failure
            self._failure = error


def progress_monitor(sdk: TensorRt, progress: Progress) -> Any:
    """The SDK's monitor over `progress`."""
    base = sdk.module.IProgressMonitor

    class Monitor(base):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            base.__init__(self)

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            progress.start(name, parent, steps)

        def step_complete(self, name: str, number: int) -> bool:
            return progress.step(name, number)

        def phase_finish(self, name: str) -> None:
            progress.finish(name)

    return Monitor()
