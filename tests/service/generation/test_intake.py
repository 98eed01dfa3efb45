import asyncio
import math
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from engines.errors import InvalidInputError
from engines.generation import Chat, Feature, GenerationCall, Message, Options, Prompt, Tool, ToolCall
from engines.language import Language
from engines.model_config import TextGeneration
from engines.text_generator import GenerationRequest, GeneratorLimits, Grammar, ToolSyntax
from service.errors import InvalidRequestError, UnsupportedError
from service.generation.intake import GenerationIntake, GenerationJob
from tests.engines.tiny_language import TEMPLATE, config, tiny_language

LIMITS = GeneratorLimits(window=400, kv_tokens=1000, sequences=4, kv_block=16)
ROOMY = GeneratorLimits(window=20_000, kv_tokens=20_000, sequences=4)
ALL: frozenset[Feature] = frozenset(get_args(Feature))
HI = Chat((Message("user", "hi"),))
LOOK, HEAR = Tool("look", "Looks."), Tool("hear")

Check = Callable[[GenerationRequest], None]


def accept(_request: GenerationRequest) -> None:
    """The engine takes all."""


class Door:
    """Makes intakes over one language, and asks them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.language = tiny_language(folder)

    def intake(
        self,
        settings: TextGeneration | None = None,
        limits: GeneratorLimits = LIMITS,
        features: frozenset[Feature] = ALL,
        check: Check = accept,
        language: Language | None = None,
    ) -> GenerationIntake:
        seeds = count(1000)
        spoken = language or self.language
        return GenerationIntake(config(settings), spoken, limits, features, check, lambda: next(seeds))

    async def ask(
        self, prompt: Prompt | tuple[Prompt, ...], options: Options | None = None, **how: Any
    ) -> GenerationJob:
        prompts = prompt if isinstance(prompt, tuple) else (prompt,)
        return await self.intake(**how).check(GenerationCall(prompts, options or Options()))

    async def refused(self, param: str | None, prompt: Any, options: Options | None = None, **how: Any) -> str:
        with pytest.raises(InvalidRequestError) as caught:
            await self.ask(prompt, options, **how)
        assert caught.value.param == param
        return str(caught.value)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Door:
    return Door(tmp_path_factory.mktemp("m"))


async def test_a_text_becomes_tokens_with_the_start_token(door: Door) -> None:
    job = await door.ask("card")
    assert job.requests[0].prompt.tolist() == door.language.encode("card", 9, special=True).tolist()
    assert job.prompt_tokens == job.requests[0].prompt.size
    assert job.plans[0].echo == ""


async def test_a_chat_becomes_tokens_as_its_template_has_it(door: Door) -> None:
    job = await door.ask(HI)
    text = door.language.render(HI)
    assert job.requests[0].prompt.tolist() == door.language.encode(text, 99, special=False).tolist()


async def test_answers_are_in_order_and_prompts_counted_once(door: Door) -> None:
    job = await door.ask(("card", np.array([3, 4], np.int64)), Options(n=3, seed=7))
    assert [request.sampling.seed for request in job.requests] == [7, 8, 9, 7, 8, 9]
    assert job.requests[0].prompt is job.requests[2].prompt
    assert [request.prompt.tolist() for request in job.requests[3:]] == [[3, 4]] * 3
    assert job.prompt_tokens == job.requests[0].prompt.size + 2
    assert len(job.plans) == 6


async def test_seeds_nobody_named_are_drawn(door: Door) -> None:
    job = await door.ask(("a", "b"), Options(n=2))
    assert [request.sampling.seed for request in job.requests] == [1000, 1001, 1001, 1002]
    (negative,) = (await door.ask("a", Options(seed=-1))).requests
    assert negative.sampling.seed == 2**63 - 1


async def test_what_is_left_open_comes_from_the_configuration(door: Door) -> None:
    settings = TextGeneration(max_tokens=9, temperature=0.5, top_p=0.25)
    (request,) = (await door.ask("a", settings=settings)).requests
    assert (request.sampling.max_tokens, request.sampling.temperature, request.sampling.top_p) == (9, 0.5, 0.25)
    (request,) = (await door.ask("a", Options(max_tokens=3, temperature=0.0, top_p=1.0), settings=settings)).requests
    assert (request.sampling.max_tokens, request.sampling.temperature, request.sampling.top_p) == (3, 0.0, 1.0)


async def test_without_a_limit_the_window_decides(door: Door) -> None:
    (request,) = (await door.ask("a")).requests
    assert request.sampling.max_tokens == 400 - request.prompt.size
    (request,) = (await door.ask("a", settings=TextGeneration(max_tokens=9999))).requests
    assert request.sampling.max_tokens == 400 - request.prompt.size
    (request,) = (await door.ask("a", limits=GeneratorLimits(400, 100, 4, 16))).requests
    assert request.sampling.max_tokens == 96 - request.prompt.size, "whole blocks of the cache"


async def test_the_window_is_refused_with_its_numbers(door: Door) -> None:
    ids = np.full(300, 3, np.int64)
    assert (await door.ask(ids, Options(max_tokens=100))).requests[0].sampling.max_tokens == 100
    text = await door.refused("max_tokens", ids, Options(max_tokens=101))
    assert text == (
        "300 tokens of the prompt and 101 of max_tokens are 401, but its window is 400; ask for at most 100"
    )
    text = await door.refused("max_tokens", ids, Options(max_tokens=9), limits=GeneratorLimits(400, 304, 4, 16))
    assert "its cache holds 304; ask for at most 4" in text


async def test_a_prompt_that_leaves_no_room_is_refused(door: Door) -> None:
    assert "has 400 tokens, the model takes at most 399" in await door.refused("prompt", np.full(400, 3, np.int64))
    assert "more than 399 tokens" in await door.refused("prompt", "a" * 10_000_000)
    assert "more than 399 tokens" in await door.refused("messages", Chat((Message("user", "a" * 10_000_000),)))
    await door.refused("prompt", np.full(100, 3, np.int64), limits=GeneratorLimits(400, 100, 4, 16))


async def test_chats_that_are_far_too_long_are_not_even_rendered(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Language, "render", None)
    for chat in (Chat((Message("user", "a" * 10_000_000),)), Chat((Message("user", "a" * 100_000),) * 100)):
        assert "more than 399 tokens" in await door.refused("messages", chat)


@pytest.mark.parametrize(
    ("prompt", "param", "message"),
    [
        ((), "prompt", "no prompt"),
        (np.array([], np.int64), "prompt", "no tokens"),
        (np.array([290], np.int64), "prompt", "id 290 is not in the vocabulary"),
        ("\ud800", "prompt", "lone surrogate"),
        (Chat(()), "messages", "has 0 messages"),
        (Chat((Message("user"),) * 401), "messages", "401 messages; send 1 to 400"),
        (Chat((Message("user", "\udfff"),)), "messages", "lone surrogate"),
        (("a",) * 261, "prompt", "261 prompts, 1 times each, are 261 answers; ask for at most 260"),
    ],
)
async def test_prompts_that_are_refused(door: Door, prompt: Any, param: str, message: str) -> None:
    assert message in await door.refused(param, prompt)


@pytest.mark.parametrize(
    ("options", "param"),
    [
        (Options(n=0), "n"),
        (Options(n=2**31), "n"),
        (Options(max_tokens=0), "max_tokens"),
        (Options(max_tokens=10**12), "max_tokens"),
        (Options(temperature=2.1), "temperature"),
        (Options(temperature=math.nan), "temperature"),
        (Options(top_p=-0.1), "top_p"),
        (Options(min_p=1.5), "min_p"),
        (Options(top_k=-1), "top_k"),
        (Options(presence_penalty=3), "presence_penalty"),
        (Options(frequency_penalty=-3), "frequency_penalty"),
        (Options(repetition_penalty=0), "repetition_penalty"),
        (Options(seed=2**63), "seed"),
        (Options(logprobs=21), "logprobs"),
        (Options(stop=("a",) * 100_000), "stop"),
        (Options(stop=("a", "")), "stop"),
        (Options(stop=("a" * 257,)), "stop"),
        (Options(logit_bias={290: 1}), "logit_bias"),
        (Options(logit_bias={-1: 1}), "logit_bias"),
        (Options(logit_bias={3: 101}), "logit_bias"),
        (Options(logit_bias={3: math.nan}), "logit_bias"),
        (Options(logit_bias=dict.fromkeys(range(2000), 1)), "logit_bias"),
        (Options(json_schema="{" * 200_000), "response_format"),
        (Options(echo=True, logprobs=0), "echo"),
    ],
)
async def test_values_out_of_range(door: Door, options: Options, param: str) -> None:
    assert await door.refused(param, "a", options)


@pytest.mark.parametrize(
    ("feature", "options", "param"),
    [
        ("frequency_penalty", Options(frequency_penalty=0.1), "frequency_penalty"),
        ("json_schema", Options(json_schema="{}"), "response_format"),
        ("logit_bias", Options(logit_bias={3: 1.0}), "logit_bias"),
        ("logprobs", Options(logprobs=0), "logprobs"),
        ("min_p", Options(min_p=0.1), "min_p"),
        ("presence_penalty", Options(presence_penalty=0.1), "presence_penalty"),
        ("repetition_penalty", Options(repetition_penalty=1.1), "repetition_penalty"),
        ("seed", Options(seed=0), "seed"),
        ("top_k", Options(top_k=1), "top_k"),
        ("top_logprobs", Options(logprobs=1), "top_logprobs"),
    ],
)
async def test_what_the_engine_cannot_do_is_refused(door: Door, feature: Feature, options: Options, param: str) -> None:
    with pytest.raises(UnsupportedError, match=f"{param} cannot be honoured by this model's engine, echo"):
        await door.ask("a", options, features=ALL - {feature})
    await door.refused(param, "a", options, features=ALL - {feature})
    assert (await door.ask("a", options, features=ALL)).requests


async def test_defaults_need_no_feature(door: Door) -> None:
    """Nor do the options that every engine has."""
    options = Options(max_tokens=3, temperature=0.5, top_p=0.5, n=2, stop=("x",), ignore_eos=True)
    (request, _) = (await door.ask("a", options, features=frozenset())).requests
    assert request.sampling.ignore_eos


async def test_options_reach_the_engine(door: Door) -> None:
    options = Options(
        top_k=3, min_p=0.1, presence_penalty=0.2, frequency_penalty=0.3, repetition_penalty=1.4, logit_bias={3: 1.0}
    )
    sampling = (await door.ask("a", options)).requests[0].sampling
    assert (sampling.top_k, sampling.min_p, sampling.logit_bias) == (3, 0.1, {3: 1.0})
    assert (sampling.presence_penalty, sampling.frequency_penalty, sampling.repetition_penalty) == (0.2, 0.3, 1.4)
    job = await door.ask("a", Options(logprobs=2, stop=("x",)))
    assert job.requests[0].sampling.logprobs == job.plans[0].logprobs == 2
    assert job.plans[0].stop == ("x",)


async def test_what_the_engine_itself_refuses(door: Door) -> None:
    checked: list[GenerationRequest] = []

    def refuse(request: GenerationRequest) -> None:
        checked.append(request)
        raise InvalidInputError("the schema is recursive")

    text = await door.refused("response_format", "a", Options(json_schema="{}", n=3), check=refuse)
    assert text == "the schema is recursive"
    assert len(checked) == 1
    await door.refused("tools", Chat(HI.messages, (LOOK,)), check=refuse)
    await door.refused(None, "a", check=refuse)


async def test_prompts_are_echoed(door: Door) -> None:
    job = await door.ask(("card", door.language.encode("lost 你", 9, special=True)), Options(echo=True))
    assert [plan.echo for plan in job.plans] == ["card", "lost 你"]
    await door.refused("echo", HI, Options(echo=True))


async def test_tools_are_told_and_may_be_called(door: Door) -> None:
    job = await door.ask(Chat(HI.messages, (LOOK, HEAR)), limits=ROOMY)
    (request,), (plan,) = job.requests, job.plans
    assert request.grammar == Grammar(tools=(LOOK, HEAR))
    assert plan.tools == ToolSyntax()
    assert '"name": "look"' in door.language.decode(request.prompt.tolist())


async def test_tools_that_must_be_called(door: Door) -> None:
    chat = Chat(HI.messages, (LOOK, HEAR), "required")
    assert (await door.ask(chat, limits=ROOMY)).requests[0].grammar == Grammar(tools=(LOOK, HEAR), only_calls=True)
    chat = Chat(HI.messages, (LOOK, HEAR), must_call="hear", parallel_tool_calls=False)
    assert (await door.ask(chat, limits=ROOMY)).requests[0].grammar == Grammar(
        tools=(HEAR,), only_calls=True, many=False
    )


async def test_tools_that_must_not_be_called_are_not_shown(door: Door) -> None:
    job = await door.ask(Chat(HI.messages, (LOOK,), "none"))
    assert job.requests[0].prompt.tolist() == (await door.ask(HI)).requests[0].prompt.tolist()
    assert job.requests[0].grammar is None
    assert job.plans[0].tools is None


@pytest.mark.parametrize(
    ("chat", "param"),
    [
        (Chat(HI.messages, (LOOK, LOOK)), "tools"),
        (Chat(HI.messages, tuple(Tool(f"t{number}") for number in range(129))), "tools"),
        (Chat(HI.messages, (LOOK,), must_call="smell"), "tool_choice"),
        (Chat(HI.messages, (), "required"), "tool_choice"),
    ],
)
async def test_tools_that_are_refused(door: Door, chat: Chat, param: str) -> None:
    await door.refused(param, chat)


async def test_a_model_that_calls_no_tools(door: Door) -> None:
    chat = Chat(HI.messages, (LOOK,))
    assert "calls no tools" in await door.refused("tools", chat, settings=TextGeneration(tools="none"))
    assert (await door.ask(Chat(HI.messages, (LOOK,), "none"), settings=TextGeneration(tools="none"))).requests


@pytest.mark.parametrize(
    ("chat", "param"),
    [
        (Chat(HI.messages, (LOOK,), "required"), "tool_choice"),
        (Chat(HI.messages, (LOOK,), must_call="look"), "tool_choice"),
        (Chat(HI.messages, (LOOK,), parallel_tool_calls=False), "parallel_tool_calls"),
        (Chat(HI.messages, (Tool("look", strict=True),)), "strict"),
    ],
)
async def test_an_engine_without_grammars_promises_nothing(door: Door, chat: Chat, param: str) -> None:
    await door.refused(param, chat, features=ALL - {"tools"})
    job = await door.ask(Chat(HI.messages, (LOOK,)), features=ALL - {"tools"})
    assert job.requests[0].grammar is None
    assert job.plans[0].tools == ToolSyntax()


async def test_schemas_go_with_plain_text_only(door: Door) -> None:
    job = await door.ask(HI, Options(json_schema='{"type": "object"}'))
    assert job.requests[0].grammar == Grammar(json_schema='{"type": "object"}')
    await door.refused("response_format", Chat(HI.messages, (LOOK,)), Options(json_schema="{}"))
    assert (await door.ask(Chat(HI.messages, (LOOK,), "none"), Options(json_schema="{}"))).requests


async def test_where_reasoning_begins(door: Door, tmp_path: Path) -> None:
    settings = TextGeneration(reasoning="deepseek_r1")
    assert (await door.ask(HI)).plans[0].reasoning == "none"
    assert (await door.ask(HI, settings=settings)).plans[0].reasoning == "expected"
    assert (await door.ask("a", settings=settings)).plans[0].reasoning == "none"
    opened = tiny_language(tmp_path, settings, TEMPLATE + "{{ '<think>\\n' }}")
    assert (await door.ask(HI, settings=settings, language=opened)).plans[0].reasoning == "begun"
    job = await door.ask(HI, Options(json_schema="{}"), settings=settings, language=opened)
    assert job.plans[0].reasoning == "none", "a grammar leaves no room for it"
    chat = Chat(HI.messages, (LOOK,))
    assert (await door.ask(chat, settings=settings, language=opened)).plans[0].reasoning == "begun"


async def test_a_template_refuses_with_its_words(door: Door, tmp_path: Path) -> None:
    language = tiny_language(tmp_path, template="{{ raise_exception('no system, please') }}")
    assert "no system, please" in await door.refused("messages", HI, language=language)


@pytest.mark.parametrize(
    ("prompt", "options", "inline"),
    [
        ("card", Options(), True),
        (HI, Options(n=4), True),
        (np.full(100, 3, np.int64), Options(), True),
        ("the card " * 300, Options(), False),
        (Chat(HI.messages * 40), Options(), False),
        (Chat((Message("assistant", tool_calls=(ToolCall("c", "f", " " * 3000),)),)), Options(), False),
        (Chat(HI.messages, (LOOK,)), Options(), False),
        ("card", Options(json_schema="{}"), False),
    ],
)
async def test_long_work_leaves_the_event_loop(door: Door, prompt: Any, options: Options, inline: bool) -> None:
    threads: list[int] = []
    await door.ask(prompt, options, limits=ROOMY, check=lambda _request: threads.append(threading.get_ident()))
    assert (threads == [threading.get_ident()]) is inline


async def test_many_callers_at_once_do_not_disturb_each_other(door: Door) -> None:
    intake = door.intake(limits=ROOMY)
    texts = ["the card was lost " * number for number in range(1, 200, 20)]
    jobs = await asyncio.gather(*(intake.check(GenerationCall((text,))) for text in texts))
    decoded = [door.language.decode(job.requests[0].prompt.tolist()) for job in jobs]
    assert decoded == texts
