"""The semantic cache of one name: finds the answer to a question that means the same, and checks a share of them."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from engines.generation import Delta, Event, Usage
from service.cache.call_words import asks_plainly, last_question, without_question
from service.cache.key import framed, key_of
from service.errors import BatchyardError
from service.generating import FLEX, GenerateRequest, Generation
from service.semantic.agreement import Agreement
from service.semantic.index import MemoryIndex, Near
from service.semantic.reading import Infer, Reader, Reading
from service.semantic_settings import SemanticSettings
from service.types import Bill, Hints

LOGGER = logging.getLogger("batchyard.semantic")

LONGEST = 500
"""Characters of a question; a longer one says too much to mean the same as another."""
_PATIENCE = 1.0
"""Seconds in which encoder and classifier must tell."""
_CHECK_SECONDS = 120.0
"""In which an answer that is checked must be there anew."""
_LONGEST_ANSWER = 1000
"""Characters of an answer that are compared."""
_MOST_OPEN = 1024
"""Questions whose answers are under way."""


Generate = Callable[[GenerateRequest], Awaitable[Generation]]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a semantic cache asks. `key_of`: the key of a request's exact answer. `generation`: counts what is loaded.
    `clock`: of deadlines; `now`: seconds since 1970."""

    infer: Infer
    generate: Generate
    key_of: Callable[[GenerateRequest], bytes | None]
    generation: Callable[[], int]
    clock: Callable[[], float]
    now: Callable[[], float]


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """A question that was read. `bucket`: who asks what, where, in which conversation, with which intent and facts."""

    bucket: bytes
    reading: Reading


class SemanticCache:
    """Used on the event loop. Questions are compared within one tenant, conversation, system prompt, set of options,
    version of all models, intent and facts: all but the words of the question."""

    def __init__(self, name: str, settings: SemanticSettings, around: Surroundings) -> None:
        self.name = name
        self.agreement = Agreement(name, settings.floor, settings.least_samples, around.generation)
        self.index = MemoryIndex(settings.entries, settings.ttl_seconds, around.now)
        self.hits = 0
        self._settings = settings
        self._around = around
        self._reader = Reader(name, settings.encoder, settings.classifier, around.infer)
        self._open: OrderedDict[bytes, _Read] = OrderedDict()
        self._due = 0.0
        self._check: asyncio.Task[None] | None = None

    async def find(self, request: GenerateRequest, key: bytes) -> Near | None:
        """The nearest earlier question with the same answer. `key`: of this one's own. Raises `CancelledError` only."""
        read = None if self.agreement.off else await self._read(request)
        if read is None:
            return None
        self._open[key] = read
        if len(self._open) > _MOST_OPEN:
            self._open.popitem(last=False)
        reading = read.reading
        return self.index.find(read.bucket, reading.vector, reading.facts, self._settings.threshold)

    async def _read(self, request: GenerateRequest) -> _Read | None:
        question = last_question(request.call)
        if not 0 < len(question) <= LONGEST or not asks_plainly(request.call):
            return None
        context = self._around.key_of(replace(request, call=without_question(request.call)))
        if context is None:
            return None
        deadline = min(request.deadline, self._around.clock() + _PATIENCE)
        hints = Hints(tenant=request.hints.tenant, bill=request.hints.bill)
        try:
            async with asyncio.timeout(_PATIENCE):
                reading = await self._reader.read(question, deadline, request.priority, hints)
        except TimeoutError:
            return None
        if reading is None or reading.confidence < self._settings.least_confidence:
            return None
        facts = framed(fact.encode() for fact in reading.facts.settled)
        return _Read(key_of((b"question", context, reading.label, facts)), reading)

    def keep(self, key: bytes) -> None:
        """The answer to the question that was read for this key is there, and complete."""
        read = self._open.pop(key, None)
        if read is not None and not self.agreement.off:
            self.index.add(read.bucket, read.reading.vector, read.reading.facts, key)

    def told(self, request: GenerateRequest, text: str) -> None:
        """A caller was told the answer to another question: `text`. Every so many times that is checked, one at a
        time."""
        self.hits += 1
        self._due = min(self._due + self._settings.sample, 1.0)
        if self._due >= 1.0 and self._check is None:
            self._due = 0.0
            self._check = asyncio.get_running_loop().create_task(self._check_answer(request, text))
            self._check.add_done_callback(self._checked)

    def _checked(self, check: "asyncio.Task[None]") -> None:
        self._check = None
        if not check.cancelled() and (error := check.exception()):
            LOGGER.error("an answer of the semantic cache of %s could not be checked", self.name, exc_info=error)

    async def _check_answer(self, request: GenerateRequest, told: str) -> None:
        """Answers anew, after all others and on nobody's bill, and compares."""
        deadline = self._around.clock() + _CHECK_SECONDS
        hints = replace(request.hints, cache="no-cache", bill=Bill(), explain=False)
        asked = replace(request, priority=FLEX, deadline=deadline, hints=hints)
        try:
            text = await _text_of(await self._around.generate(asked))
        except BatchyardError as error:
            LOGGER.info("an answer of the semantic cache of %s was not checked: %s", self.name, error)
            return
        agreed = text == told
        if not agreed:
            hints = Hints(tenant=hints.tenant, bill=hints.bill)
            answers = [await self._reader.read(one[:_LONGEST_ANSWER], deadline, FLEX, hints) for one in (text, told)]
            if None in answers:
                return
            agreed = self._agree(*[answer for answer in answers if answer])
        self.agreement.checked(agreed)

    def _agree(self, one: Reading, other: Reading) -> bool:
        """Are two answers about the same intent, and alike?"""
        return one.label == other.label and float(one.vector @ other.vector) >= self._settings.alike

    async def close(self) -> None:
        """Ends the check that is under way."""
        if self._check is not None:
            self._check.cancel()
            await asyncio.wait({self._check})


async def _text_of(generation: Generation) -> str:
    """The text of the first answer; raises `BatchyardError`."""
    texts: list[str] = []
    events: list[Event] = []
    try:
        while not (events and isinstance(events[-1], Usage)) and (events := [*await generation.read()]):
            texts += [event.text for event in events if isinstance(event, Delta) and not event.index]
    finally:
        generation.close()
    return "".join(texts)
