"""How many parts may wait."""

from dataclasses import dataclass
from typing import NamedTuple

from service.errors import InvalidRequestError
from service.fair import most_held


class Counted(NamedTuple):
    """Parts that wait: in all; of the request's priority level, and how many may, 0: any number; and of its tenant,
    where several use the queue, else 0."""

    waits: int
    alike: int = 0
    bound: int = 0
    held: int = 0


@dataclass(frozen=True, slots=True)
class Room:
    """`most`: parts that may wait."""

    most: int

    def over(self, parts: int, counted: Counted) -> tuple[int, str]:
        """By how many parts a request is too large for the room there is, 0 where it fits, and why.

        Raises `InvalidRequestError` where even an empty queue would not hold it.
        """
        bound = counted.bound
        most = min(bound or self.most, self.most)
        if parts > most:
            raise InvalidRequestError(
                f"the request has {parts} parts, the queue holds {most}; send them in several requests"
            )
        over = max(counted.waits + parts - self.most, counted.alike + parts - bound if bound else 0)
        if over > 0:
            return over, f"the queue is full: {counted.waits} parts wait, {most} may, the request has {parts}"
        share = most_held(self.most - counted.waits)
        over = counted.held + parts - share if counted.held else 0
        if over > 0:
            text = f"{counted.held} parts of this tenant wait, the request has {parts}"
            return over, f"the queue is full: {text}, {share} may where {self.most - counted.waits} places are free"
        return 0, ""
