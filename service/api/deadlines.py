"""A caller's deadline, from the request parameter `timeout` or a header."""

import math
from collections.abc import Mapping

from service.api.headers import RequestHeaders
from service.errors import InvalidRequestError
from service.types import Parameter

_READ_TIMEOUT = b"x-stainless-read-timeout"


def deadline_of(
    arrived: float, headers: RequestHeaders, parameters: Mapping[str, Parameter], default_timeout: float
) -> float:
    """When a request that `arrived` then must be answered, on the same clock; `default_timeout`: seconds by default."""
    allowed = seconds_allowed(headers, parameters)
    return arrived + (default_timeout if allowed is None else allowed)


def stream_deadline_of(
    arrived: float, headers: RequestHeaders, parameters: Mapping[str, Parameter], default_timeout: float
) -> float:
    """The same for an answer in pieces: there, `x-stainless-read-timeout` is the time between two of them."""
    named = {name: value for name, value in headers.items() if name != _READ_TIMEOUT}
    return deadline_of(arrived, named, parameters, default_timeout)


def seconds_allowed(headers: RequestHeaders, parameters: Mapping[str, Parameter]) -> float | None:
    """Seconds the caller allows: the least of those it names, None where it names none.

    Read are the parameter `timeout` (whole microseconds; 0 is none, as in Triton), the header `x-deadline-ms`, and
    `x-stainless-read-timeout`, in seconds, which the openai client writes from its own settings: what is no positive
    number there is ignored. The others raise `InvalidRequestError`.
    """
    milliseconds = headers.get(b"x-deadline-ms")
    read_timeout = headers.get(_READ_TIMEOUT)
    if milliseconds is None and read_timeout is None and not parameters:
        return None
    allowed = [whole_parameter(parameters, "timeout") / 1e6]
    if milliseconds is not None:
        allowed.append(_deadline_ms(milliseconds) / 1000)
    if read_timeout is not None:
        allowed.append(_number(read_timeout))
    return min((seconds for seconds in allowed if seconds > 0), default=None)


def _deadline_ms(value: bytes) -> float:
    number = _number(value)
    if not 0 < number < math.inf:
        raise InvalidRequestError(
            f"header x-deadline-ms is {value.decode('latin-1')!r}; it must be a positive number of milliseconds"
        )
    return number


def _number(value: bytes) -> float:
    try:
        return float(value)
    except ValueError:
        return math.nan


def whole_parameter(parameters: Mapping[str, Parameter], name: str) -> int:
    """A parameter that is a whole number from 0 to 2^63 - 1; 0 where it is absent."""
    value = parameters.get(name, 0)
    if type(value) is not int or value < 0:
        raise InvalidRequestError(f"parameter {name!r} is {value!r}; it must be a whole number of 0 or more", name)
    if value >= 2**63:
        raise InvalidRequestError(f"parameter {name!r} is too large; it must be below 2^63", name)
    return value
