"""What was made of a body before: of a request that comes again, and whose answers are cached, neither it nor its
answer is taken apart and put together anew."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from engines.tensor import Array
from service.api.reply import Reply
from service.api.v2_request import Wanted
from service.types import InferRequest, InferResponse

MOST = 1024
LARGEST_BODY = 4096
LARGEST_REPLY = 8192
"""Bytes. All notes together take some 64 MB at most, where bodies are lists of short strings; a tenth mostly."""

Place = tuple[str, str, str, int | None, bytes]
"""Tenant, model, version, the bytes of the body that are JSON, and the body. With the tenant, so that nobody can tell
by the time an answer takes what another one asked."""


@dataclass(slots=True, eq=False)
class Note:
    """One body. `request`: as it was decoded, not settled, its arrays read-only. `content`: the request's."""

    request: InferRequest
    wanted: Wanted
    content: bytes = b""
    _outputs: tuple[Array, ...] = field(default=())
    _reply: Reply | None = None

    def again(self) -> InferRequest:
        """The request once more."""
        first = self.request
        request = InferRequest(
            first.model, first.inputs.copy(), first.version, first.outputs, first.id, parameters=first.parameters
        )
        request.content = self.content
        return request

    def reply_to(self, response: InferResponse, encode: Callable[[], Reply]) -> Reply:
        """What `encode` gives, remembered as long as the cache answers with the very same arrays, which nobody can
        change."""
        if response.cached.verdict != "hit" or self.wanted.classes:
            return encode()
        outputs = tuple(response.outputs.values())
        if self._reply is None or not _same(outputs, self._outputs):
            reply = encode()
            if not outputs or len(reply.body) > LARGEST_REPLY:
                return reply
            self._outputs, self._reply = outputs, reply
        return Reply(self._reply.status, self._reply.body, self._reply.headers.copy())


class Notes:
    """The latest bodies. Used on the event loop only."""

    def __init__(self) -> None:
        self._notes: OrderedDict[Place, Note] = OrderedDict()

    def find(self, place: Place) -> Note | None:
        """The note of an equal body."""
        note = self._notes.get(place)
        if note is not None:
            self._notes.move_to_end(place)
        return note

    def take(self, place: Place, request: InferRequest, wanted: Wanted) -> Note | None:
        """A new note, if the body is small. Nobody can change the request's arrays any more."""
        if len(place[-1]) > LARGEST_BODY:
            return None
        for array in request.inputs.values():
            array.flags.writeable = False
        note = self._notes[place] = Note(request, wanted)
        if len(self._notes) > MOST:
            self._notes.popitem(last=False)
        return note


def _same(some: tuple[Array, ...], others: tuple[Array, ...]) -> bool:
    return len(some) == len(others) and all(map(_is, some, others))


def _is(one: Array, other: Array) -> bool:
    return one is other
