"""A caller's deadline, from the request parameter `timeout` or a header."""

import math
import re
from collections.abc import Mapping

from engines.calls import Parameter
from service.api.headers import RequestHeaders
from service.errors import InvalidRequestError

_READ_TIMEOUT = b"x-stainless-read-timeout"
_GRPC_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
"""A number and its unit: "gRPC over HTTP2", Request-Headers, Timeout."""
_GRPC_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


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

    Read are the parameter `timeout` (whole microseconds; 0 is none, as in Triton), the headers `x-deadline-ms` and
    `grpc-timeout`, and `x-stainless-read-timeout`, in seconds, which the openai client writes from its own settings:
    what is no positive number there is ignored. The others raise `InvalidRequestError`.
    """
    milliseconds = headers.get(b"x-deadline-ms")
    read_timeout = headers.get(_READ_TIMEOUT)
    grpc_timeout = headers.get(b"grpc-timeout")
    if milliseconds is None and read_timeout is None and grpc_timeout is None and not parameters:
        return None
    allowed = [whole_parameter(parameters, "timeout") / 1e6]
    if milliseconds is not None:
        allowed.append(_deadline_ms(milliseconds) / 1000)
    if grpc_timeout is not None:
        allowed.append(_grpc_seconds(grpc_timeout))
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


def _grpc_seconds(value: bytes) -> float:
    found = _GRPC_TIMEOUT.fullmatch(value)
    seconds = int(found[1]) * _GRPC_UNITS[found[2]] if found else 0.0
    if not seconds:
        raise InvalidRequestError(
            f"header grpc-timeout is {value.decode('latin-1')!r}; it must be 1 to 8 digits and a unit, one of "
            "H M S m u n, not 0 in all, such as 100m for 100 milliseconds"
        )
    return seconds


def _number(value: bytes) -> float:
    try:
        return float(value)
    except ValueError:
        return math.nan


def whole_parameter(parameters: Mapping[str, Parameter], name: str, bound: int = 2**63) -> int:
    """A parameter that is a whole number from 0, below `bound`, a power of 2; 0 where it is absent."""
    value = parameters.get(name, 0)
    if type(value) is not int or value < 0:
        raise InvalidRequestError(f"parameter {name!r} is {value!r}; it must be a whole number of 0 or more", name)
    if value >= bound:
        most = bound.bit_length() - 1
        raise InvalidRequestError(f"parameter {name!r} is too large; it must be below 2^{most}", name)
    return value
