"""Requests as a Python model knows them: those that it is to answer, and those that it makes of other models."""

import asyncio
import json
from collections.abc import Awaitable, Mapping, Sequence
from typing import ClassVar

from engines.python_backend.inside.errors import TritonModelException, plain, text_of
from engines.python_backend.inside.parent import Parent
from engines.python_backend.inside.questions import Answers, ResponseIterator
from engines.python_backend.inside.response import InferenceResponse, checked
from engines.python_backend.inside.sender import InferenceResponseSender
from engines.python_backend.inside.tensor import Tensor, sendable
from engines.python_backend.inside.values import InferenceTrace, PreferredMemory, whole
from engines.python_backend.messages import Asked, Request
from engines.tensor import Array

_RELEASE_ALL = 1


class InferenceRequest:
    """Made by a model, it is a question to `model_name`; `timeout` in microseconds, 0 no limit."""

    parent: ClassVar[Parent]

    def __init__(
        self,
        request_id: str = "",
        correlation_id: int | str = 0,
        inputs: Sequence[Tensor] | None = None,
        requested_output_names: Sequence[str] | None = None,
        model_name: str | None = None,
        model_version: int = -1,
        flags: int = 0,
        timeout: int = 0,
        preferred_memory: PreferredMemory | None = None,
        trace: InferenceTrace | None = None,
        parameters: Mapping[str, bool | int | str] | None = None,
    ) -> None:
        if inputs is None or requested_output_names is None or model_name is None:
            raise TypeError("InferenceRequest needs inputs, requested_output_names and model_name")
        if not isinstance(correlation_id, int | str):
            raise TritonModelException("Correlation ID must be integer or string")
        self._model = text_of(model_name, "model_name")
        request_id = text_of(request_id, "request_id")
        outputs = [text_of(name, "a requested output name") for name in requested_output_names]
        self._check(request_id, self._model, inputs, outputs)
        self._tensors = list(inputs)
        version = whole(model_version, "model_version", -1)
        self._version = "" if version == -1 else str(version)
        self._trace = trace or InferenceTrace()
        self._sender: InferenceResponseSender | None = None
        if isinstance(correlation_id, str):
            correlation_id = plain(correlation_id)
        else:
            correlation_id = whole(correlation_id, "correlation_id")
        flags, timeout = whole(flags, "flags"), whole(timeout, "timeout")
        self._request = Request(0, outputs, request_id, checked(parameters), correlation_id, flags, timeout)

    @classmethod
    def received(
        cls, request: Request, tensors: Mapping[str, Array], sender: InferenceResponseSender
    ) -> "InferenceRequest":
        """A request to this model."""
        found = cls.__new__(cls)
        found._tensors = [Tensor.received(name, array) for name, array in tensors.items()]
        found._version = found._model = ""
        found._trace = InferenceTrace()
        found._sender = sender
        found._request = request
        return found

    def inputs(self) -> list[Tensor]:
        """The input tensors."""
        return self._tensors

    def request_id(self) -> str:
        """The id that the caller gave, "" none."""
        return self._request.id

    def correlation_id(self) -> int | str:
        """The sequence that the request belongs to, 0 or "" none."""
        return self._request.correlation

    def requested_output_names(self) -> set[str]:
        """The outputs that the caller wants."""
        return set(self._request.outputs)

    def flags(self) -> int:
        """TRITONSERVER_REQUEST_FLAG_SEQUENCE_START and _END, or'ed."""
        return self._request.flags

    def set_flags(self, flags: int) -> None:
        """Changes the flags."""
        self._request.flags = whole(flags, "flags")

    def timeout(self) -> int:
        """Microseconds, 0 no limit."""
        return self._request.timeout

    def parameters(self) -> str:
        """The parameters as a JSON object."""
        return json.dumps(self._request.parameters)

    def trace(self) -> InferenceTrace:
        """The trace that the request belongs to."""
        return self._trace

    def get_response_sender(self) -> InferenceResponseSender:
        """Sends the answers to this request."""
        if self._sender is None:
            raise TritonModelException("a request that this model made has no response sender; use exec or async_exec")
        return self._sender

    def is_cancelled(self) -> bool:
        """Does nobody wait for this request any more?"""
        return self._sender is not None and self._sender.is_cancelled()

    def set_release_flags(self, flags: int) -> None:
        """Rescheduling a request is refused."""
        if flags != _RELEASE_ALL:
            raise TritonModelException("rescheduling of requests is not offered here: iterative sequences are not")

    def exec(self, decoupled: bool = False) -> InferenceResponse | ResponseIterator:
        """Asks the model and waits for its answer; `decoupled`: for the first of any number."""
        answers = self._ask(decoupled)
        answers.wait()
        return ResponseIterator(answers) if decoupled else answers.next()

    def async_exec(self, decoupled: bool = False) -> Awaitable[InferenceResponse | ResponseIterator]:
        """As `exec`, for `await`."""
        loop = asyncio.get_running_loop()
        answers = self._ask(decoupled)

        async def first() -> InferenceResponse | ResponseIterator:
            try:
                await answers.arrival(loop)
            except asyncio.CancelledError:
                answers.give_up()
                raise
            return ResponseIterator(answers) if decoupled else answers.next()

        return loop.create_task(first())

    def _ask(self, decoupled: bool) -> Answers:
        if self._sender is not None:
            raise TritonModelException("only a request that this model made can be executed")
        wanted = self._request
        return Answers.to(
            self.parent,
            lambda key: Asked(
                key,
                self._model,
                self._version,
                wanted.outputs,
                wanted.id,
                wanted.parameters,
                wanted.correlation,
                wanted.flags,
                wanted.timeout,
                decoupled,
            ),
            {each.name(): sendable(each.as_numpy()) for each in self._tensors},
        )

    @staticmethod
    def _check(request_id: str, model_name: str, inputs: Sequence[Tensor], outputs: Sequence[str]) -> None:
        where = f"for request with id '{request_id}' and model name '{model_name}' should not be empty."
        if any(each is None for each in inputs):
            raise TritonModelException(f"Input tensor {where}")
        if any(name == "" for name in outputs):
            raise TritonModelException(f"Requested output name {where}")
