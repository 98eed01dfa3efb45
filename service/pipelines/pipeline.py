"""A pipeline of gateway.toml: a chat is classified, given a system prompt and a policy, and answered by a model."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import takewhile
from types import MappingProxyType

from engines.generation import Chat, GenerationCall, Message
from engines.tensor import Signature
from service.ensembles.door import Infer, Predict
from service.errors import InvalidRequestError
from service.generating import GenerateRequest, Generation
from service.pipelines.answer import PipelineGeneration
from service.pipelines.classifier import Classifier, Intent
from service.pipelines.policies import Policies, Policy
from service.responses import OneResponse
from service.settings import PipelineSettings
from service.types import ANYONE, InferResponse, Job, Prediction, Responses, Tenant

LOGGER = logging.getLogger("batchyard.pipelines")

Generate = Callable[[GenerateRequest], Awaitable[Generation]]
VERSION = "1"
_UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Doors:
    """What a pipeline asks. `fault_of`: why a model or route cannot answer, "" if it can. `clock`: seconds.

    `predict_of`: when a model or route would answer a request of such a cost and deadline.
    """

    infer: Infer
    generate: Generate
    fault_of: Callable[[str], str]
    clock: Callable[[], float]
    predict_of: Predict


class Pipeline:
    """A `service.routing.replica.Replica` made of a classifier and a model, both asked through the gateway's doors."""

    def __init__(self, name: str, settings: PipelineSettings, policies: Policies, doors: Doors) -> None:
        self.name = f"{name}:{VERSION}"
        self.model = name
        self.classifier = settings.classifier
        self._settings = settings
        self._policies = policies
        self._doors = doors
        self._classifier = Classifier(settings.classifier, settings.excerpt_bytes, doors.infer)

    @property
    def parts(self) -> tuple[tuple[str, str], ...]:
        """The names and versions that it asks."""
        return (self._settings.model, ""), (self._settings.classifier, "")

    @property
    def cached(self) -> bool:
        """Is what it wrote to be remembered?"""
        return self._settings.cache

    @property
    def digest(self) -> bytes:
        """Of what it adds to a chat: its settings and its policies."""
        policies = sorted((intent, policy.name, policy.text) for intent, policy in self._policies.items())
        return sha256(repr((self._settings, policies)).encode()).digest()

    @property
    def fault(self) -> str:
        """Why the model that writes cannot answer; without its classifier a pipeline still does."""
        return self._doors.fault_of(self._settings.model)

    def predict(self, cost: int, deadline: float = float("inf"), tenant: Tenant = ANYONE) -> Prediction:
        """See `Replica`: that of the model; classifying takes next to nothing of the time of generated text."""
        return self._doors.predict_of(self._settings.model, cost, deadline, tenant)

    def review(self, signature: Signature) -> None:
        """Logs where the policies and the classifier, now that its tensors are known, do not fit each other."""
        misfit = self._classifier.misfit(signature)
        if misfit:
            LOGGER.warning("pipeline %s: %s lacks %s; answers get no policy", *self._pair, misfit)
        labels = {label for spec in signature.outputs for label in spec.labels}
        strange, bare = sorted(self._policies.keys() - labels), sorted(labels - self._policies.keys())
        if labels and strange:
            LOGGER.warning("pipeline %s: policies for intents that %s lacks: %s", *self._pair, ", ".join(strange))
        if labels and bare:
            LOGGER.warning("pipeline %s: intents of %s without a policy: %s", *self._pair, ", ".join(bare))

    @property
    def _pair(self) -> tuple[str, str]:
        return self.model, self.classifier

    async def infer(self, job: Job) -> InferResponse:
        """Not what a pipeline does."""
        raise InvalidRequestError(f"{self.model!r} takes chats; ask it by /v1/chat/completions", "model")

    async def stream(self, job: Job) -> Responses:
        """See `Replica`: one answer."""
        return OneResponse(await self.infer(job))

    async def generate(self, request: GenerateRequest) -> Generation:
        """Classifies the last message of the user within the request's deadline, then asks the model."""
        start = self._doors.clock()
        chat = self._chat(request.call)
        intent = await self._classifier.classify(_last_message(chat), request.deadline, request.priority, request.hints)
        policy = self._policy(intent)
        asked = replace(chat, messages=compose(self._settings.system, policy, chat.messages))
        call = GenerationCall((asked,), request.call.options)
        spent = self._doors.clock() - start
        inner = await self._doors.generate(replace(request, model=self._settings.model, version="", call=call))
        engine = f"{intent.engine}+{inner.engine}" if intent else inner.engine
        return PipelineGeneration(inner, (self.model, VERSION, engine), spent, _metadata(intent, policy))

    def _chat(self, call: GenerationCall) -> Chat:
        if len(call.prompts) == 1 and isinstance(call.prompts[0], Chat):
            return call.prompts[0]
        wanted = f"ask {self._settings.model!r}, or send messages to /v1/chat/completions"
        raise InvalidRequestError(f"{self.model!r} takes chats, found a plain prompt; {wanted}", "model")

    def _policy(self, intent: Intent | None) -> Policy | None:
        if intent is None or intent.confidence < self._settings.least_confidence:
            return None
        return self._policies.get(intent.label)

    async def close(self, grace: float) -> None:
        """Holds nothing of its own."""


def compose(system: str, policy: Policy | None, messages: Sequence[Message]) -> tuple[Message, ...]:
    """The conversation with one system message before it: the prompt, the policy, what the caller's own ones say.

    One message, since many chat templates take only one and only there. What is constant comes first, so that the
    prefix cache has it whatever the policy.
    """
    own = list(takewhile(lambda message: message.role == "system", messages))
    parts = [system, policy.text if policy else "", *(message.content for message in own)]
    text = "\n\n".join(part.strip() for part in parts if part.strip())
    return (Message("system", text), *messages[len(own) :])


def _last_message(chat: Chat) -> str:
    for message in reversed(chat.messages):
        if message.role == "user":
            return message.content
    roles = ", ".join(message.role for message in chat.messages) or "none"
    raise InvalidRequestError(f"no message of the user; found {roles}, send one with role 'user'", "messages")


def _metadata(intent: Intent | None, policy: Policy | None) -> Mapping[str, str]:
    label, confidence = (intent.label, intent.confidence) if intent else (_UNAVAILABLE, 0.0)
    name = policy.name if policy else ""
    return MappingProxyType({"intent": label, "confidence": f"{confidence:.3f}", "policy": name})


def is_unclassified(metadata: Mapping[str, str]) -> bool:
    """Is this of an answer whose question could not be classified?"""
    return metadata.get("intent") == _UNAVAILABLE
