"""The process of a Python model at work: commands in, answers out."""

import json
import sys
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from engines.apart_line import NO_TENSORS, Line
from engines.python_backend.inside import pb_utils
from engines.python_backend.inside.auto_complete import ModelConfig
from engines.python_backend.inside.errors import MisbehavedError, placed, shown
from engines.python_backend.inside.model import CLASS, Model, load
from engines.python_backend.inside.parent import Parent
from engines.python_backend.inside.request import InferenceRequest
from engines.python_backend.inside.response import InferenceResponse
from engines.python_backend.inside.sender import InferenceResponseSender
from engines.python_backend.messages import (
    Answer,
    Command,
    Complete,
    Completed,
    Done,
    Execute,
    Executed,
    Failed,
    Finalize,
    Initialize,
    Logged,
    Reply,
    Request,
    joined,
    parted,
)
from engines.tensor import Tensors

Received = tuple[InferenceRequest, InferenceResponseSender]


class Worker:
    """Obeys the commands that come by `line`. `is_ending`: the model was finalized, or was about to be."""

    def __init__(self, line: Line[Command], parent: Parent) -> None:
        self.is_ending = False
        self._line = line
        self._parent = parent
        self._model: Model | None = None
        self._instance = ""
        self._decoupled = False

    def obey(self) -> None:
        """Until the model is finalized; raises `EOFError` or `OSError` where the gateway is gone."""
        while not self.is_ending:
            reply, tensors = self._obey(*self._line.receive())
            if isinstance(reply, Executed | Failed):
                reply.said = self._parent.said
            self._line.send(reply, tensors)
            del reply, tensors

    def _obey(self, command: Command, tensors: Tensors) -> tuple[Reply, Tensors]:
        try:
            match command:
                case Complete():
                    return self._complete(command), NO_TENSORS
                case Initialize():
                    self._initialize(command)
                case Execute(requests):
                    return self._execute([self._received(*each) for each in _paired(requests, tensors)])
                case Finalize():
                    self.is_ending = True
                    if self._model is not None:
                        self._model.finalize()
            return Done(), NO_TENSORS
        except BaseException as error:  # of the model's code, SystemExit too
            self._log(error)
            return Failed(shown(error)), NO_TENSORS

    def _complete(self, command: Complete) -> Completed:
        kind = self._load(command.file)
        config: Any = ModelConfig(command.config)
        if hasattr(kind, "auto_complete_config"):
            config = kind.auto_complete_config(config)
        if not isinstance(config, ModelConfig):
            raise MisbehavedError(
                f"auto_complete_config function in model '{command.model}' must return a valid pb.ModelConfig object."
            )
        return Completed(json.dumps(config.as_dict()))

    def _initialize(self, command: Initialize) -> None:
        self._instance, self._decoupled = command.instance, command.decoupled
        model = Model(command.instance, self._load(command.file), decoupled=command.decoupled)
        model.initialize(command.arguments)
        self._model = model

    def _load(self, file: str) -> Any:
        module = pb_utils.pb_utils(self._parent, Path(file).parent)
        self._kind_of_request = module.InferenceRequest
        sys.modules[pb_utils.NAME] = module
        return load(Path(file))

    def _received(self, request: Request, tensors: Tensors) -> Received:
        wanted = frozenset(request.outputs)
        sender = InferenceResponseSender(self._parent, request.key, wanted, decoupled=self._decoupled)
        received: InferenceRequest = self._kind_of_request.received(request, tensors, sender)
        return received, sender

    def _execute(self, received: Sequence[Received]) -> tuple[Reply, Tensors]:
        if self._model is None:
            raise MisbehavedError(f"{CLASS} was not initialized")
        try:
            returned = self._model.execute([request for request, _ in received])
            if isinstance(returned, Future):
                returned.add_done_callback(lambda future: self._failed_later(future, received))
                return Executed([None] * len(received)), NO_TENSORS
            return _outgoing(received, returned)
        except BaseException as error:  # of the model's code, SystemExit too
            for _, sender in received:
                sender.close()
            self._log(error)
            return Failed(self._failure(error)), NO_TENSORS

    def _failed_later(self, future: "Future[Any]", received: Sequence[Received]) -> None:
        """A coroutine of a decoupled model ended: where by an error, the requests that are open get it."""
        error = None if future.cancelled() else future.exception()
        if error is not None:
            for _, sender in received:
                sender.fail("INTERNAL", self._failure(error))
            self._log(error)

    def _failure(self, error: BaseException) -> str:
        return f"Failed to process the request(s) for model '{self._instance}', message: {shown(error)}"

    def _log(self, error: BaseException) -> None:
        self._parent.send(Logged("error", placed(error)))


def _paired(requests: Sequence[Request], tensors: Tensors) -> list[tuple[Request, Tensors]]:
    return list(zip(requests, parted(tensors, len(requests)), strict=True))


def _outgoing(received: Sequence[Received], returned: Sequence[Any]) -> tuple[Executed, Tensors]:
    """What `execute` returned as it is sent: but for what was answered already by a sender."""
    for response in returned:
        if response is not None and not isinstance(response, InferenceResponse):
            raise MisbehavedError(
                "Expected an 'InferenceResponse' object in the execute function return list, found type "
                f"'{type(response)}'."
            )
    answers: list[Answer | None] = []
    groups: list[Tensors] = []
    for (request, sender), response in zip(received, returned, strict=True):
        answer, tensors = None, {}
        if response is not None and sender.close():
            answer, tensors = response.outgoing(request.requested_output_names(), final=True)
        answers.append(answer)
        groups.append(tensors)
    return Executed(answers), joined(groups)
