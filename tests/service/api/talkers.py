"""What the test gateway generates: answers that are known beforehand, in pieces, with every kind of event and fault."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import MappingProxyType

from engines.generation import (
    Chat,
    Delta,
    Event,
    Finish,
    GenerationCall,
    Prompt,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from service.errors import EngineFailedError, SlowReaderError
from service.generating import GenerateRequest, GenerationTiming
from service.types import DIRECT, NOT_CACHED, Candidate, Prediction, Routed

USAGE = Usage(prompt_tokens=7, completion_tokens=5, cached_tokens=3, reasoning_tokens=2)
METADATA = MappingProxyType({"intent": "card_arrival", "confidence": "0.97", "note": "grün\r\n100%"})
ROUTED = Routed(
    "chat",
    "short",
    "ordered",
    (Candidate("big:1", Prediction(2.0, 3.0, 4.0), "too slow"), Candidate("echo:2", Prediction(), "chosen")),
    ("small:1: it was down",),
    "echo:2",
)
"""How a call with `x-variant` was routed."""
TEXT = "Grüße, 世界! 👩‍👩‍👧 🇩🇪"
"""What `echo` is asked to say in most tests: no character of it is one byte in all encodings."""

Events = AsyncIterator[list[Event]]


def text_of(prompt: Prompt) -> str:
    """What `echo` answers to a prompt."""
    if isinstance(prompt, Chat):
        return prompt.messages[-1].content
    return prompt if isinstance(prompt, str) else " ".join(map(str, prompt.tolist()))


async def echo(call: GenerationCall) -> Events:
    """Says each prompt's text again, `n` times, two characters a piece."""
    n = call.options.n
    for index in range(len(call.prompts) * n):
        text = text_of(call.prompts[index // n])
        pieces = [text[start : start + 2] for start in range(0, len(text), 2)]
        most = call.options.max_tokens or len(pieces)
        for piece in pieces[:most]:
            yield [Delta(index, piece, logprobs=_logprobs(piece, call.options.logprobs))]
        yield [Finish(index, "length" if most < len(pieces) else "stop")]
    yield [USAGE]


def _logprobs(piece: str, tops: int | None) -> tuple[TokenLogprob, ...]:
    if tops is None:
        return ()
    others = tuple(TokenLogprob(other, other.encode(), -2.5) for other in "xyzabc"[:tops])
    return (TokenLogprob(piece, piece.encode(), -0.25, others),)


async def at_once(call: GenerationCall) -> Events:
    """All events in one read."""
    yield [event async for events in echo(call) for event in events]


async def thinker(call: GenerationCall) -> Events:
    yield [Delta(0, reasoning="Let me "), Delta(0, reasoning="think.")]
    yield [Delta(0, "Four."), Finish(0, "stop"), USAGE]


async def caller(call: GenerationCall) -> Events:
    """Says something and calls two tools, in pieces."""
    yield [Delta(0, "One moment.")]
    yield [Delta(0, tool_calls=(ToolCallDelta(0, "", "call_1", "balance"),))]
    yield [Delta(0, tool_calls=(ToolCallDelta(0, '{"account":'),)), Delta(0, tool_calls=(ToolCallDelta(0, "1}"),))]
    yield [Delta(0, tool_calls=(ToolCallDelta(1, "{}", "call_2", "cards"),)), Finish(0, "tool_calls"), USAGE]


async def only_caller(call: GenerationCall) -> Events:
    yield [Delta(0, tool_calls=(ToolCallDelta(0, "{}", "call_1", "cards"),)), Finish(0, "tool_calls"), USAGE]


async def empty(call: GenerationCall) -> Events:
    yield [Finish(0, "stop"), USAGE]


async def unlikely(call: GenerationCall) -> Events:
    top = (TokenLogprob("a", b"a", float("nan")),)
    yield [Delta(0, "a", logprobs=(TokenLogprob("a", b"a", float("-inf"), top),)), Finish(0, "stop"), USAGE]


async def split_character(call: GenerationCall) -> Events:
    """An emoji of two tokens between two letters."""
    first, second = "😀".encode()[:2], "😀".encode()[2:]
    yield [Delta(0, "a", logprobs=(TokenLogprob("a", b"a", -1.0),))]
    tokens = (TokenLogprob("�", first, -1.0), TokenLogprob("�", second, -1.0))
    yield [Delta(0, "😀", logprobs=tokens), Delta(0, "b", logprobs=(TokenLogprob("b", b"b", -1.0),))]
    yield [Finish(0, "stop"), USAGE]


async def breaks(call: GenerationCall) -> Events:
    yield [Delta(0, "so far")]
    raise EngineFailedError("the engine failed: out of order")


async def crashes(call: GenerationCall) -> Events:
    yield [Delta(0, "so far")]
    raise ZeroDivisionError("a secret of the inside")


async def slow_reader(call: GenerationCall) -> Events:
    yield [Delta(0, "so far")]
    raise SlowReaderError("600 pieces of the answer wait to be read; read faster")


async def breaks_at_once(call: GenerationCall) -> Events:
    raise EngineFailedError("the engine failed: out of order")
    yield []


async def stops_short(call: GenerationCall) -> Events:
    yield [Delta(0, "so far")]


TALKERS: Mapping[str, Callable[[GenerationCall], Events]] = {
    "echo": echo,
    "at_once": at_once,
    "pipeline": echo,
    "thinker": thinker,
    "caller": caller,
    "only_caller": only_caller,
    "empty": empty,
    "unlikely": unlikely,
    "split_character": split_character,
    "breaks": breaks,
    "crashes": crashes,
    "slow_reader": slow_reader,
    "breaks_at_once": breaks_at_once,
    "stops_short": stops_short,
    "mute": echo,
    "stuck": echo,
    "waits": echo,
}
"""`mute` never says anything, `stuck` says one piece and no more, `waits` is told before each piece to go on."""


class Talk:
    """Implements `service.generating.Generation`."""

    def __init__(self, request: GenerateRequest, version: str, events: Events, talker: "Talker") -> None:
        self.model, self.version, self.engine = request.model, version, "talker"
        self.timing = GenerationTiming(predicted=Prediction(0.001, 0.02, 0.05))
        self.routed = ROUTED if request.hints.variant else DIRECT
        self.cached = NOT_CACHED
        self.metadata: Mapping[str, str] = METADATA if request.model == "pipeline" else {}
        self._events = events
        self._talker = talker
        self._closed = False

    async def read(self) -> Sequence[Event]:
        await self._talker.before(self.model, bool(self.timing.first_token))
        events = await anext(self._events, [])
        if not self.timing.first_token:
            self.timing.queue, self.timing.first_token, self.timing.per_token = 0.0015, 0.025, 0.002
        return events

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._talker.closed(self.model)


class Talker:
    """Answers, and knows what became of it. `asked` and `cancelled`: released for the models that never end."""

    def __init__(self, asked: threading.Semaphore, cancelled: threading.Semaphore) -> None:
        self.open = 0
        self.last: GenerateRequest | None = None
        self._asked = asked
        self._cancelled = cancelled
        self._fails = False
        self._told: Callable[[], object] = lambda: None

    def go_on(self) -> None:
        """Lets the last `waits` speak; from any thread."""
        self._told()

    def fail_next(self) -> None:
        """Lets the last `waits` fail instead."""
        self._fails = True
        self._told()

    def answer(self, request: GenerateRequest, version: str) -> Talk:
        self.last = request
        self.open += 1
        return Talk(request, version, TALKERS[request.model](request.call), self)

    async def before(self, model: str, begun: bool) -> None:
        """What is to be waited for before the next events."""
        if model == "waits":
            told, loop = asyncio.Event(), asyncio.get_running_loop()
            self._told = lambda: loop.call_soon_threadsafe(told.set)
            await told.wait()
            if self._fails:
                self._fails = False
                raise EngineFailedError("it was told to fail")
        if model == "mute" or (model == "stuck" and begun):
            self._asked.release()
            await asyncio.Event().wait()

    def closed(self, model: str) -> None:
        self.open -= 1
        if model in ("mute", "stuck"):
            self._cancelled.release()
