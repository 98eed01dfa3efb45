"""What is counted of a Redis."""

from collections import Counter
from typing import Literal

from service.telemetry.histogram import Histogram

Kind = Literal["get", "put", "run"]
"""What is asked of Redis: the methods of `RedisLink`."""
Failure = Literal["late", "lost", "refused", "wrong"]
"""Of what was sent: no answer in time; the connection ended first; an error; an answer to something else."""
Drop = Literal["away", "backlog", "paused"]
"""Why something was not sent: Redis is away; too much waits; it takes no writes."""

SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.01, 0.05, 0.25, 1.0)


class Counts:
    """Counters of the event loop. `up`: it is asked; `writable`: it takes what it is given. `seconds`: of answers."""

    __slots__ = ("commands", "drops", "failures", "seconds", "up", "writable")

    def __init__(self) -> None:
        self.up = False
        self.writable = True
        self.commands: Counter[Kind] = Counter()
        self.failures: Counter[tuple[Kind, Failure]] = Counter()
        self.drops: Counter[tuple[Kind, Drop]] = Counter()
        self.seconds = Histogram(SECONDS)
