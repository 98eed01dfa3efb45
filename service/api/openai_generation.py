"""Answers OpenAI's requests for generated text: chat and completions, whole and streamed."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from engines.generation import GenerationCall
from service.api.collecting import Whole, collect
from service.api.deadlines import deadline_of, stream_deadline_of
from service.api.disconnect import while_connected
from service.api.endpoint import Call
from service.api.errors import OK
from service.api.event_stream import EventStream
from service.api.generation_body import read_generation_body
from service.api.generation_headers import head_of
from service.api.generation_stream import stream_generation
from service.api.hints import hints_of
from service.api.limits import Limits
from service.api.openai_answers import Envelope
from service.api.openai_chunks import Chunks, NewChoice
from service.api.reply import JSON_TYPE, Reply
from service.gateway import Gateway
from service.generating import GenerateRequest, Generation


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it was understood, and how its answer is written: whole, or a choice in chunks.

    `usage`: a stream ends with the usage.
    """

    call: GenerationCall
    stream: bool
    usage: bool
    envelope: Envelope
    encode: Callable[[Envelope, Whole], bytes]
    new_choice: NewChoice
    priority: int

    @property
    def answers(self) -> int:
        return len(self.call.prompts) * self.call.options.n


class OpenAIGeneration:
    """Answers the requests that `understand` reads from a body. `prompt`: the field to blame for a long one.

    Answers are never compressed: clients accept it without being asked, and text that is generated is small.
    """

    def __init__(self, gateway: Gateway, limits: Limits, understand: Callable[[bytes], Asked], prompt: str) -> None:
        self._gateway = gateway
        self._limits = limits
        self._understand = understand
        self._prompt = prompt

    async def __call__(self, call: Call) -> Reply | EventStream:
        """Raises `BatchyardError`."""
        arrived = self._gateway.clock()
        asked = self._understand(await read_generation_body(call, self._limits, self._prompt))
        model = asked.envelope.model
        timeout = self._gateway.timeout_of(model) or self._limits.generation_timeout
        until = stream_deadline_of if asked.stream else deadline_of
        deadline, hints = until(arrived, call.headers, {}, timeout), hints_of(call.headers, tenant=call.tenant)
        request = GenerateRequest(model, asked.call, deadline=deadline, priority=asked.priority, hints=hints)
        return self._stream(request, asked, call) if asked.stream else await self._whole(request, asked, call)

    async def _whole(self, request: GenerateRequest, asked: Asked, call: Call) -> Reply:
        work = collect(self._gateway.generate(request), asked.answers)
        whole = await while_connected(work, call.receive, self._limits.disconnect_delay)
        body = asked.encode(asked.envelope, whole)
        return Reply(OK, body, [JSON_TYPE, *head_of(request.hints)(whole.generation)])

    def _stream(self, request: GenerateRequest, asked: Asked, call: Call) -> EventStream:
        def chunks(generation: Generation) -> Chunks:
            metadata = generation.metadata
            return Chunks(asked.envelope, asked.new_choice, asked.answers, metadata, usage=asked.usage)

        generate = partial(self._gateway.generate, request)
        work = partial(stream_generation, generate, chunks, head_of(request.hints))
        return EventStream(work, call.receive, self._limits)
