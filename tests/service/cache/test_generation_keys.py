"""Which generated text is cached, and what tells two requests apart."""

from dataclasses import replace

import numpy as np
import pytest

from engines.generation import Chat, GenerationCall, Message, Options, Tool, ToolCall
from engines.model_config import ModelConfig
from engines.tensor import Signature
from service.cache.call_words import last_question, without_question, words_of
from service.catalog import Catalog, Model
from service.generating import GenerateRequest
from service.generation_key import GenerationKeys
from service.intake import TensorIntake
from service.route_settings import RouteSettings
from service.routing.opening import open_route
from service.routing.served import Served
from service.types import Hints, Tenant
from tests.service.generation.echoes import echo_config
from tests.service.routing.doubles import Double

CHAT = Chat((Message("system", "Be brief."), Message("user", "Hello")), (Tool("balance", "Of an account"),))
CALL = GenerationCall((CHAT,), Options(temperature=0.0, max_tokens=9))
REQUEST = GenerateRequest("writer", CALL)


def config(temperature: float, backend: str = "echo", response_cache: bool = True) -> ModelConfig:
    made = echo_config({"generation.temperature": temperature})
    return replace(made, backend=backend, response_cache=response_cache)


def keys_of(**models: ModelConfig) -> tuple[GenerationKeys, Catalog]:
    rule = {"variants": ["writer"], "header": {"x-canary": "yes"}}
    settings = RouteSettings.model_validate({"variants": list(models), "cache": True, "rules": [rule]})
    catalog = Catalog(routes={"route": open_route("route", settings)})
    for name, one in models.items():
        served = Served(TensorIntake(Signature((), ())), Double(name), digest=name.encode())
        catalog.show(Model(name, one, {"1": served}))
    return GenerationKeys(catalog), catalog


def with_options(**options: object) -> GenerateRequest:
    return replace(REQUEST, call=GenerationCall((CHAT,), replace(CALL.options, **options)))  # type: ignore[arg-type]


def with_chat(**changes: object) -> GenerateRequest:
    return replace(REQUEST, call=GenerationCall((replace(CHAT, **changes),), CALL.options))  # type: ignore[arg-type]


OTHERS = {
    "tenant": replace(REQUEST, hints=Hints(tenant=Tenant("b"))),
    "version": replace(REQUEST, version="1"),
    "variant": replace(REQUEST, hints=Hints(variant="writer")),
    "quality": replace(REQUEST, hints=Hints(min_quality=0.5)),
    "route": replace(REQUEST, model="route"),
    "header of a rule": replace(REQUEST, model="route", hints=Hints(headers={b"x-canary": b"yes"})),
    "text": replace(REQUEST, call=GenerationCall(("Hello",), CALL.options)),
    "tokens": replace(REQUEST, call=GenerationCall((np.array([1, 2]),), CALL.options)),
    "other tokens": replace(REQUEST, call=GenerationCall((np.array([1, 3]),), CALL.options)),
    "two prompts": replace(REQUEST, call=GenerationCall(("Hel", "lo"), CALL.options)),
    "words": with_chat(messages=(Message("system", "Be brief."), Message("user", "Hello!"))),
    "role": with_chat(messages=(Message("system", "Be brief."), Message("assistant", "Hello"))),
    "name": with_chat(messages=(Message("system", "Be brief."), Message("user", "Hello", name="Ada"))),
    "where messages end": with_chat(messages=(Message("system", "Be brief.Hello"), Message("user", ""))),
    "calls": with_chat(messages=(*CHAT.messages, Message("assistant", tool_calls=(ToolCall("1", "balance", "{}"),)))),
    "tools": with_chat(tools=()),
    "schema": with_chat(tools=(Tool("balance", "Of an account", {"type": "object"}),)),
    "choice": with_chat(tool_choice="required"),
    "must call": with_chat(must_call="balance"),
    "parallel": with_chat(parallel_tool_calls=False),
    "max_tokens": with_options(max_tokens=8),
    "top_p": with_options(top_p=0.5),
    "top_k": with_options(top_k=5),
    "min_p": with_options(min_p=0.1),
    "n": with_options(n=2),
    "seed": with_options(seed=5),
    "another seed": with_options(seed=6),
    "stop": with_options(stop=("a",)),
    "two stops": with_options(stop=("a", "b")),
    "presence": with_options(presence_penalty=0.5),
    "frequency": with_options(frequency_penalty=0.5),
    "repetition": with_options(repetition_penalty=1.5),
    "bias": with_options(logit_bias={5: 1.0}),
    "logprobs": with_options(logprobs=0),
    "json_schema": with_options(json_schema="{}"),
    "echo": with_options(echo=True),
    "ignore_eos": with_options(ignore_eos=True),
}


def test_requests_that_differ_in_one_field_share_no_key() -> None:
    keys, catalog = keys_of(writer=config(0.0))
    found = {name: keys.of(request) for name, request in OTHERS.items()} | {"": keys.of(REQUEST)}
    assert None not in found.values()
    assert len(set(found.values())) == len(OTHERS) + 1
    catalog.show(Model("writer", config(0.0), {"1": replace(catalog.served("writer"), digest=b"other files")}))
    assert keys.of(REQUEST) not in found.values()


@pytest.mark.parametrize("same", [{"id": "7"}, {"deadline": 5.0}, {"priority": 1}], ids=str)
def test_what_changes_no_answer_changes_no_key(same: dict[str, object]) -> None:
    keys, _ = keys_of(writer=config(0.0))
    assert keys.of(replace(REQUEST, **same)) == keys.of(REQUEST)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("named", "seed", "default", "backend", "cached"),
    [
        (0.0, None, 1.0, "echo", True),
        (None, None, 0.0, "echo", True),
        (None, None, 0.2, "echo", False),
        (0.7, None, 0.0, "echo", False),
        (0.7, 5, 1.0, "echo", True),
        (None, 0, 1.0, "openai_upstream", True),
        (0.0, None, 1.0, "openai_upstream", True),
        (None, None, 0.0, "openai_upstream", False),
    ],
)
def test_only_what_does_not_depend_on_chance(
    named: float | None, seed: int | None, default: float, backend: str, cached: bool
) -> None:
    keys, _ = keys_of(writer=config(default, backend))
    for model in ("writer", "route"):
        request = replace(with_options(temperature=named, seed=seed), model=model)
        assert (keys.of(request) is not None) is cached


def test_a_route_is_as_unsure_as_the_worst_of_its_variants() -> None:
    keys, _ = keys_of(writer=config(0.0), other=config(0.3))
    asked = replace(with_options(temperature=None), model="route")
    assert keys.of(asked) is None


def test_only_names_that_are_cached() -> None:
    keys, _ = keys_of(writer=config(0.0, response_cache=False))
    assert keys.of(REQUEST) is None
    assert keys.of(replace(REQUEST, model="unknown")) is None
    assert keys.of(replace(REQUEST, model="route")) is not None


def test_text_that_is_no_unicode_has_no_key() -> None:
    assert words_of(GenerationCall(("\ud800",))) is None


def test_the_question_of_a_chat() -> None:
    assert last_question(CALL) == "Hello"
    assert last_question(GenerationCall(("Hello",))) == ""
    assert last_question(GenerationCall((Chat((Message("assistant", "Hello"),)),))) == ""
    other = with_chat(messages=(Message("system", "Be brief."), Message("user", "Bye"))).call
    assert words_of(without_question(CALL)) == words_of(without_question(other)) != words_of(CALL)
