"""The chunks of a streamed answer, chat and plain alike, read into deltas, finishes and usage."""

from collections.abc import Mapping, Sequence

import msgspec

from engines.errors import ExecutionError
from engines.generation import (
    Chat,
    Delta,
    Event,
    Finish,
    FinishReason,
    GenerationCall,
    ToolCallDelta,
    Usage,
)
from engines.openai_upstream_chunks import (
    Choice,
    Chunk,
    CompletionDetails,
    PromptDetails,
    WireFunction,
    WireToolCall,
    WireUsage,
)
from engines.openai_upstream_errors import ErrorMapper
from engines.openai_upstream_logprobs import read_logprobs

DONE = b"[DONE]"
_REASONS: Mapping[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}
"""All others (`content_filter`, a server's own words for a stop) end the answer as a stop does."""
_FAILED = ("abort", "error", "cancelled")
"""Reasons that say the server gave up."""


class AnswerReader:
    """Reads the chunks of the answers to one call."""

    def __init__(self, call: GenerationCall, errors: ErrorMapper) -> None:
        self._call = call
        self._errors = errors
        self._answers = len(call.prompts) * call.options.n
        self._finished: set[int] = set()
        self._called: set[int] = set()
        self._usage: WireUsage | None = None
        self._usages: dict[int, WireUsage] = {}
        self._pieces = 0
        self._ended = False
        self._echoes = _echoes(call)
        # llama.cpp begins the answers to several prompts with a null.
        self._decoder = msgspec.json.Decoder(Chunk | None)

    @property
    def ended(self) -> bool:
        """Was the usage given? Nothing follows it."""
        return self._ended

    def end(self) -> Sequence[Event]:
        """What is left to say once the server says no more; raises `ExecutionError` where it should have gone on."""
        if self._ended:
            return ()
        if len(self._finished) < self._answers:
            raise ExecutionError("the upstream server's answer ended in the middle, without a finish_reason")
        self._ended = True
        return (self._total(),)

    def read(self, data: bytes) -> Sequence[Event]:
        """What one chunk brings; raises `EngineError` for an error in its place."""
        if self._ended or data == DONE:
            return self.end()
        try:
            chunk = self._decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ExecutionError(f"the upstream server sent a chunk that cannot be read: {error}") from None
        if chunk is None:
            return ()
        if chunk.error is not None:
            raise self._errors.of_event(chunk.error)
        if chunk.object == "error" or (chunk.choices is None and chunk.message):
            raise self._errors.of_event(msgspec.json.decode(data))
        choices = chunk.choices or []
        if chunk.usage is not None and choices:
            self._usages[choices[0].index] = chunk.usage
        elif chunk.usage is not None:
            self._usage = chunk.usage
        return [event for choice in choices for event in self._choice(choice)]

    def _total(self) -> Usage:
        """Of all answers together.

        Where the server sent none it is what can be counted: of prompts, token ids that we sent, else 0; of answers,
        their pieces, which is at most the number of tokens. llama.cpp sends one for each of several answers.
        """
        if self._usage is not None:
            return _usage(self._usage)
        if len(self._usages) < self._answers:
            return Usage(sum(_known_tokens(prompt) for prompt in self._call.prompts), self._pieces)
        each = [_usage(self._usages[index]) for index in range(self._answers)]
        firsts = each[:: self._call.options.n]
        return Usage(
            sum(one.prompt_tokens for one in firsts),
            sum(one.completion_tokens for one in each),
            cached_tokens=sum(one.cached_tokens for one in firsts),
            reasoning_tokens=sum(one.reasoning_tokens for one in each),
        )

    def _choice(self, choice: Choice) -> Sequence[Event]:
        index = choice.index
        if not 0 <= index < self._answers:
            raise ExecutionError(f"the upstream server sent answer number {index}, for which nobody asked")
        if index in self._finished:
            return ()
        events: list[Event] = []
        if echo := self._echoes.pop(index, ""):
            events.append(Delta(index, echo))
        delta = self._delta(choice)
        if delta.text or delta.reasoning or delta.tool_calls or delta.logprobs:
            self._pieces += len(delta.logprobs) or 1
            events.append(delta)
        if delta.tool_calls:
            self._called.add(index)
        if choice.finish_reason:
            events.append(self._finish(index, choice.finish_reason))
        return events

    def _finish(self, index: int, said: str) -> Finish:
        if said in _FAILED:
            raise ExecutionError(f"the upstream server gave the answer up ({said})")
        reason = _REASONS.get(said, "stop")
        if reason == "stop" and index not in self._called and _must_call(self._call):
            raise ExecutionError("the upstream server called no tool, though one was required of it")
        self._finished.add(index)
        return Finish(index, reason)

    def _delta(self, choice: Choice) -> Delta:
        asked = self._call.options.logprobs
        logprobs = () if asked is None or choice.logprobs is None else read_logprobs(choice.logprobs, asked)
        said = choice.delta
        if said is None:
            return Delta(choice.index, choice.text or "", logprobs=logprobs)
        return Delta(
            choice.index,
            said.content or said.refusal or "",
            said.reasoning_content or said.reasoning or "",
            tuple(_tool_call(call, position) for position, call in enumerate(said.tool_calls or ())),
            logprobs,
        )


def _echoes(call: GenerationCall) -> dict[int, str]:
    """Answer number -> the prompt that it starts with: what we can write ourselves, as some servers ignore `echo`."""
    if not call.options.echo or call.options.logprobs is not None:
        return {}
    n = call.options.n
    return {i * n + j: text for i, text in enumerate(call.prompts) if isinstance(text, str) for j in range(n)}


def _must_call(call: GenerationCall) -> bool:
    return any(
        isinstance(prompt, Chat) and prompt.tools and (prompt.must_call or prompt.tool_choice == "required")
        for prompt in call.prompts
    )


def _usage(said: WireUsage) -> Usage:
    prompt = said.prompt_tokens_details or PromptDetails()
    completion = said.completion_tokens_details or CompletionDetails()
    return Usage(
        said.prompt_tokens, said.completion_tokens, prompt.cached_tokens or 0, completion.reasoning_tokens or 0
    )


def _known_tokens(prompt: object) -> int:
    return int(getattr(prompt, "size", 0))


def _tool_call(call: WireToolCall, position: int) -> ToolCallDelta:
    function = call.function or WireFunction()
    index = position if call.index is None else call.index
    return ToolCallDelta(index, function.arguments or "", call.id or "", function.name or "")
