"""How a model answers a request other than by returning its response."""

from collections.abc import Collection
from threading import Lock

from engines.python_backend.inside.errors import TritonModelException
from engines.python_backend.inside.parent import Parent
from engines.python_backend.inside.response import InferenceResponse
from engines.python_backend.messages import Answer, Dropped, Sent

FINAL = 1
"""Triton's TRITONSERVER_RESPONSE_COMPLETE_FINAL."""


class InferenceResponseSender:
    """Sends the answers to the request `key`: any number where the model is `decoupled`, else one. For any thread."""

    def __init__(self, parent: Parent, key: int, wanted: Collection[str], *, decoupled: bool) -> None:
        self._parent = parent
        self._key = key
        self._wanted = wanted
        self._decoupled = decoupled
        self._lock = Lock()
        self._count = 0
        self._closed = False
        self._over = False

    def send(self, response: InferenceResponse | None = None, flags: int = 0) -> None:
        """Sends a response; with the flag TRITONSERVER_RESPONSE_COMPLETE_FINAL, which needs none, it is the last."""
        if flags not in (0, FINAL):
            raise TritonModelException("Unable to send response. Unsupported flag provided.")
        if flags == 0 and response is None:
            raise TritonModelException(
                "Inference Response object must be provided when the response flags is set to zero."
            )
        with self._lock:
            self._count_in(response, flags)
            if self._over:
                return
            final = flags == FINAL or not self._decoupled
            answer, tensors = (Answer(), {}) if response is None else response.outgoing(self._wanted, final=final)
            self._parent.send(Sent(self._key, answer), tensors)
            self._over = answer.final

    def is_cancelled(self) -> bool:
        """Does nobody wait for the request any more?"""
        return self._parent.is_cancelled(self._key)

    def close(self) -> bool:
        """Sends nothing any more, since the request is answered otherwise; False: it was answered already."""
        with self._lock:
            was_open = not self._over
            self._closed = self._over = True
            return was_open

    def fail(self, code: str, message: str) -> None:
        """Answers with an error, if the request is open still."""
        if self.close():
            self._parent.send(Sent(self._key, Answer(code=code, error=message)))

    def _count_in(self, response: InferenceResponse | None, flags: int) -> None:
        if not self._decoupled and response is not None and self._count:
            raise TritonModelException(
                "Unable to send response. Non-decoupled model cannot send more than one response."
            )
        if not self._decoupled and response is None and not self._count:
            raise TritonModelException(
                "Unable to send response. Non-decoupled model cannot send complete final before sending a response."
            )
        if self._closed:
            raise TritonModelException("Unable to send response. Response sender has been closed.")
        self._closed = flags == FINAL
        self._count += 1

    def __del__(self) -> None:
        if not getattr(self, "_over", True):
            self._parent.send_soon(Dropped(self._key))
