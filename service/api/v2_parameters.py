"""The request parameters that the protocol and its extensions give a meaning; the rest is the model's."""

import re
from collections.abc import Mapping

from engines.calls import Parameter
from service.access.credentials import SECRET
from service.api.deadlines import deadline_of, whole_parameter
from service.api.headers import RequestHeaders
from service.api.hints import hints_of, quality_of
from service.errors import InvalidRequestError, UnsupportedError
from service.types import ANYONE, InferRequest, SequenceStep, Tenant

OWN = frozenset(
    {
        "binary_data_output",
        "min_quality",
        "priority",
        "sequence_end",
        "sequence_id",
        "sequence_start",
        "timeout",
        "triton_enable_empty_final_response",
    }
)
_RESERVED = "triton_"
_LONGEST_ID = 128
"""Bytes of a correlation id that is a string, as in Triton."""


def settle(
    request: InferRequest,
    headers: RequestHeaders,
    arrived: float,
    default_timeout: float,
    tenant: Tenant = ANYONE,
    forward: re.Pattern[str] | None = None,
) -> None:
    """Sets the deadline, priority, sequence and hints of a request as its parameters and headers say, and leaves it the
    parameters that are the model's, with the headers whose names `forward` finds. `arrived`: on the gateway's clock.
    Raises `InvalidRequestError`."""
    parameters = request.parameters
    request.deadline = deadline_of(arrived, headers, parameters, default_timeout)
    request.hints = hints_of(headers, quality_of(parameters), tenant)
    if parameters:
        request.priority = whole_parameter(parameters, "priority")
        request.timeout = whole_parameter(parameters, "timeout")
        request.sequence = _sequence(parameters)
        request.parameters = {name: value for name, value in parameters.items() if name not in OWN}
        _check_own(request.parameters)
    if forward is not None:
        request.parameters = {**request.parameters, **_forwarded(headers, forward)}


def _forwarded(headers: RequestHeaders, forward: re.Pattern[str]) -> dict[str, Parameter]:
    """Of several headers of one name the last; never one that holds a key."""
    named = ((name.decode("latin-1"), value) for name, value in headers.items() if name not in SECRET)
    return {name: value.decode("latin-1") for name, value in named if forward.search(name)}


def _check_own(parameters: Mapping[str, Parameter]) -> None:
    for name, value in parameters.items():
        if name.startswith(_RESERVED):
            said = "parameter keys starting with 'triton_' are reserved for Triton usage and should not be specified."
            text = f"parameter {name!r} is not known, and names that begin with {_RESERVED!r} are reserved; rename it"
            raise InvalidRequestError(text, name).as_triton(said)
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise InvalidRequestError(f"parameter {name!r} is too large; it must fit 64 bits", name)


def _sequence(parameters: Mapping[str, Parameter]) -> SequenceStep | None:
    """None where the id is 0, "" or absent, as in Triton."""
    start, end = flag(parameters, "sequence_start"), flag(parameters, "sequence_end")
    found = parameters.get("sequence_id", 0)
    if not isinstance(found, str):
        found = whole_parameter(parameters, "sequence_id", 2**64)
    elif len(found.encode()) > _LONGEST_ID:
        text = f"sequence_id has {len(found.encode())} bytes; use at most {_LONGEST_ID}"
        said = f"string correlation ID cannot be longer than {_LONGEST_ID} characters"
        raise UnsupportedError(text, "sequence_id").as_triton(said)
    if not found:
        return None
    return SequenceStep(found, start, end)


def flag(parameters: Mapping[str, Parameter], name: str, default: bool = False) -> bool:
    """A parameter that is true or false; raises `InvalidRequestError` for anything else."""
    value = parameters.get(name, default)
    if type(value) is not bool:
        raise InvalidRequestError(f"parameter {name!r} is {value!r}; it must be true or false", name)
    return value
