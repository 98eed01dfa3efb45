"""Timers for deadlines."""

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable
from typing import TypeVarTuple, Unpack

Given = TypeVarTuple("Given")

FAR = 1e6
"""Seconds: what a timer takes for a deadline that never comes."""


def deadline_timer(
    loop: AbstractEventLoop, seconds: float, late: Callable[[Unpack[Given]], object], *given: *Given
) -> TimerHandle:
    """Calls `late` in `seconds`, which may be below 0 or inf."""
    return loop.call_later(min(max(0.0, seconds), FAR), late, *given)
