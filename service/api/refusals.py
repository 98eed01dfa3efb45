"""Answers to what no endpoint sees: the door refuses it before it is a request."""

from collections.abc import Callable, Sequence
from http import HTTPStatus

from service.api.errors import error_reply, is_openai, openai_shape, v2_shape
from service.api.headers import RequestIds
from service.api.reply import Header
from service.errors import BatchyardError

HEALTH_PATHS = frozenset({b"/v2/health/live", b"/v2/health/ready"})
"""What probes ask, and what is answered when there are too many connections for anything else."""


def refusals(request_id: RequestIds) -> Callable[[BatchyardError, bytes, Sequence[Header]], bytes]:
    """Writes the whole answer for an error, after which the connection closes."""
    v2, openai = v2_shape(), openai_shape()

    def refusal(error: BatchyardError, target: bytes, headers: Sequence[Header]) -> bytes:
        ours = request_id({})
        shape = openai if is_openai(target.partition(b"?")[0].decode("latin-1")) else v2
        reply = error_reply(error, shape, ours)
        lines = [*headers, *reply.headers, (b"content-length", b"%d" % len(reply.body)), (b"x-request-id", ours)]
        if (b"connection", b"close") not in lines:
            lines.append((b"connection", b"close"))
        head = b"".join(b"%s: %s\r\n" % line for line in lines)
        phrase = HTTPStatus(reply.status).phrase.encode()
        return b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (reply.status, phrase, head, reply.body)

    return refusal
