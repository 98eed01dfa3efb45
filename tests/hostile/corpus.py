"""All hostile requests, each with a name of its own."""

from functools import cache

from tests.hostile import control, grpc_calls, openai, rest, rest_binary, wire
from tests.hostile.cases import Case


@cache
def corpus() -> tuple[Case, ...]:
    """The whole corpus, in the order in which it is sent."""
    rooms = (rest, rest_binary, openai, wire, grpc_calls, control)
    return tuple(case for room in rooms for case in room.cases())
