"""OpenVINO GenAI with the shipped model. What every generator promises is tested in tests/engines/generators."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engines import openvino_genai
from engines.base import EngineOptions
from engines.errors import EngineError, ExecutionError, InvalidInputError, ModelLoadError
from engines.generation import Chat, Message, Tool
from engines.language import Language, open_language
from engines.model_config import TextGeneration
from engines.openvino_genai import OpenVinoGenAI, open_generator
from engines.openvino_genai_model import read_shape, token_bytes
from engines.openvino_genai_settings import read_settings
from engines.text import TokenIds
from engines.text_generator import GenerationRequest, Grammar, Sampling
from tests.engines.openvino_genai_case import (
    STEP_TOKENS,
    WINDOW,
    Answer,
    ask,
    model_options,
    open_small,
    random_tokens,
    weights,
)

weights()

GREEDY = Sampling(8, temperature=0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models") / "m"


@pytest.fixture(scope="module")
def generator(folder: Path) -> Iterator[OpenVinoGenAI]:
    generator = open_small(folder)
    generator.warm_up()
    yield generator
    generator.close()


@pytest.fixture(scope="module")
def language(folder: Path, generator: OpenVinoGenAI) -> Language:
    return open_language(model_options(folder.parent / "l").config, folder, "1")


def chat(language: Language, text: str) -> TokenIds:
    return language.encode(language.render(Chat((Message("user", text),))), WINDOW, special=False)


def text_of(language: Language, answer: Answer) -> str:
    stream = language.stream()
    return "".join(map(stream.push, answer.tokens)) + stream.flush()


def test_limits_come_from_the_file_and_the_configuration(generator: OpenVinoGenAI) -> None:
    limits = generator.limits
    assert (limits.window, limits.kv_tokens, limits.sequences, limits.kv_block) == (WINDOW, 4096, 8, 32)
    assert not generator.features & {"logit_bias", "top_logprobs"}
    assert generator.features >= {"logprobs", "seed", "json_schema", "tools"}


def test_the_window_of_the_file_is_the_most(tmp_path: Path) -> None:
    config = replace(model_options(tmp_path).config, generation=TextGeneration(window=100_000))
    assert read_shape(config, weights()).window == 8192


def check_cache_bytes(opened: OpenVinoGenAI, options: EngineOptions) -> None:
    """What was planned for the cache is what the pipeline took."""
    planned = token_bytes(read_shape(options.config, weights()), read_settings(options.config))
    took = opened._pipeline().pipeline.get_metrics().cache_size_in_bytes
    assert took == planned * opened.limits.kv_tokens


def test_the_cache_takes_as_many_bytes_as_was_planned(generator: OpenVinoGenAI, tmp_path: Path) -> None:
    check_cache_bytes(generator, model_options(tmp_path / "m"))


def test_the_end_token_ends_the_answer_and_is_no_part_of_it(generator: OpenVinoGenAI, language: Language) -> None:
    answer = ask(generator, chat(language, "Answer with one word: what colour is the sky?"), Sampling(64, 0.0))
    assert answer.finish == "stop"
    assert answer.tokens
    assert not set(answer.tokens) & language.end_tokens


def test_a_chat_is_understood(generator: OpenVinoGenAI, language: Language) -> None:
    answer = ask(generator, chat(language, "What is the capital of France?"), Sampling(16, 0.0))
    assert "Paris" in text_of(language, answer)


def test_logprobs_are_those_of_the_chosen_tokens(generator: OpenVinoGenAI) -> None:
    prompt = random_tokens(20, 3)
    with_, without = (ask(generator, prompt, replace(GREEDY, logprobs=wanted)) for wanted in (0, None))
    assert with_.tokens == without.tokens
    assert all(logprob < 0 for logprob in with_.logprobs)
    assert set(without.logprobs) == {0.0}


def test_seed_zero_is_a_seed_like_others(generator: OpenVinoGenAI) -> None:
    prompt = random_tokens(20, 4)
    ask(generator, prompt, GREEDY)
    found = [ask(generator, prompt, Sampling(12, seed=seed)).tokens for seed in (0, 0, 1, 2, 2**62)]
    assert found[0] == found[1]
    assert len({tuple(tokens) for tokens in found}) == 4


def test_penalties_and_limits_reach_the_sampler(generator: OpenVinoGenAI) -> None:
    prompt = np.array([198, 8083] * 16)
    plain = [ask(generator, prompt, Sampling(6, 0.0, ignore_eos=True)).tokens for _ in range(2)][1]
    penalised = Sampling(6, 0.0, ignore_eos=True, repetition_penalty=2.0, presence_penalty=2.0, frequency_penalty=2.0)
    assert len(set(ask(generator, prompt, penalised).tokens)) > len(set(plain))
    likeliest = ask(generator, prompt, Sampling(6, 2.0, top_k=1, seed=5, ignore_eos=True)).tokens
    assert likeliest == ask(generator, prompt, Sampling(6, 2.0, min_p=0.99, seed=6, ignore_eos=True)).tokens == plain


def test_a_cancelled_request_frees_its_cache_within_one_step(generator: OpenVinoGenAI) -> None:
    added = generator.add(GenerationRequest(random_tokens(100, 5), Sampling(200, ignore_eos=True)))
    for _ in range(6):
        generator.step()
    assert generator.cache_usage > 0
    generator.cancel(added)
    assert list(generator.step()) == []
    generator.step()
    assert generator.cache_usage == 0


@pytest.mark.parametrize("length", [31, 32, 33, 64, 65, 100, 160])
def test_cached_tokens_are_those_that_were_not_computed(generator: OpenVinoGenAI, length: int) -> None:
    """A step computes at most `STEP_TOKENS` of a prompt, so the steps until the first token tell."""
    prompt = random_tokens(length, 100 + length)
    first = ask(generator, prompt, Sampling(1, 0.0, ignore_eos=True))
    answers = [(length, first), *((length, ask(generator, prompt, replace(GREEDY, max_tokens=5))) for _ in range(2))]
    more = random_tokens(70, 200 + length)
    for longer in ([prompt, more], [prompt, np.array(answers[-1][1].tokens), more], [prompt[:20], more]):
        asked = np.concatenate(longer)
        answers.append((asked.size, ask(generator, asked, Sampling(2, 0.0, ignore_eos=True))))
    assert first.cached == 0
    assert answers[1][1].cached >= length - STEP_TOKENS
    assert [answer.first for _, answer in answers] == [
        math.ceil((size - answer.cached) / STEP_TOKENS) for size, answer in answers
    ]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"max_tokens": WINDOW}, f"2 to {WINDOW} tokens"),
        ({"temperature": -1.0}, "temperature is -1"),
        ({"temperature": math.nan}, "temperature is nan"),
        ({"top_p": 0.0}, "top_p is 0"),
        ({"min_p": 1.0}, "min_p is 1"),
        ({"top_k": -1}, "top_k is -1"),
        ({"presence_penalty": 2.1}, "presence_penalty is 2.1"),
        ({"frequency_penalty": -3.0}, "frequency_penalty is -3"),
        ({"repetition_penalty": 0.0}, "repetition_penalty is 0"),
        ({"logit_bias": {1: 2.0}}, "logit_bias"),
        ({"logprobs": 3}, "chosen tokens only"),
    ],
)
def test_what_the_pipeline_cannot_do_is_refused(
    generator: OpenVinoGenAI, changed: dict[str, object], named: str
) -> None:
    sampling = replace(GREEDY, **changed)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match=named):
        generator.check(GenerationRequest(random_tokens(8, 6), sampling))


@pytest.mark.parametrize("token", [-1, 49_152, 2**40])
def test_token_ids_out_of_range_are_refused(generator: OpenVinoGenAI, token: int) -> None:
    with pytest.raises(InvalidInputError, match=f"has token {token}; the model knows 0 to 49151"):
        generator.check(GenerationRequest(np.array([5, token]), GREEDY))


@pytest.mark.parametrize(
    ("grammar", "named"),
    [
        (Grammar(json_schema='{"type": "objekt"}'), "objekt"),
        (Grammar(), "no schema and no tools"),
        (Grammar(tools=(Tool("f", parameters={"oneOf": []}, strict=True),)), "tool 'f': .*oneOf"),
    ],
)
def test_a_grammar_that_would_break_it_is_refused(generator: OpenVinoGenAI, grammar: Grammar, named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        generator.check(GenerationRequest(random_tokens(8, 6), GREEDY, grammar))


def test_after_it_broke_another_can_be_opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A grammar that cannot be compiled, past the check, breaks the pipeline for good."""
    opened = open_small(folder.parent / "broken")
    monkeypatch.setattr(openvino_genai, "grammar_text", lambda *_: "root ::= (")
    opened.add(GenerationRequest(random_tokens(8, 7), GREEDY, Grammar(json_schema="{}")))
    with pytest.raises(ExecutionError, match="EBNF parser error"):
        opened.step()
    with pytest.raises(EngineError, match="open it anew"):
        opened.step()
    opened.close()
    another = open_small(folder.parent / "another")
    monkeypatch.undo()
    assert len(ask(another, random_tokens(8, 7), replace(GREEDY, ignore_eos=True)).tokens) == GREEDY.max_tokens
    another.close()


def test_without_prefix_caching_nothing_is_reused(folder: Path) -> None:
    told = {"genai__prefix_caching": "false", "genai__kv_cache_precision": "f32", "generation__tools": "none"}
    opened = open_small(folder.parent / "dense", **told)
    prompt = random_tokens(100, 8)
    assert [(ask(opened, prompt, GREEDY).first, ask(opened, prompt, GREEDY).cached) for _ in range(2)] == [(4, 0)] * 2
    with pytest.raises(InvalidInputError, match="configured without them"):
        opened.check(GenerationRequest(prompt, GREEDY, Grammar(tools=(Tool("f"),))))
    check_cache_bytes(opened, model_options(folder.parent / "planned", **told))
    opened.close()


@pytest.mark.parametrize(
    "parameters",
    [
        {"genai__sparse_attention": "xattention", "genai__sparse_attention.threshold": "0.9"},
        {
            "genai__sparse_attention": "trishape",
            "genai__sparse_attention.recent_tokens": "64",
            "genai__eviction.max_size": "224",
            "genai__eviction.recent_size": "64",
            "genai__eviction.apply_rotation": "true",
            "genai__eviction.kvcrush_budget": "1",
            "genai__kv_cache_precision": "f32",
            "genai__max_num_batched_tokens": "512",
        },
    ],
    ids=["xattention", "trishape and eviction"],
)
def test_what_passes_over_parts_still_answers(parameters: dict[str, str], tmp_path: Path) -> None:
    opened = open_small(tmp_path / "m", **parameters)
    answer = ask(opened, random_tokens(400, 9), Sampling(40, 0.0, ignore_eos=True))
    assert (len(answer.tokens), answer.finish) == (40, "length")
    opened.close()


def test_a_version_without_one_model_is_refused(tmp_path: Path) -> None:
    options = model_options(tmp_path / "m")
    file = options.folder / "model.gguf"
    (options.folder / "other.gguf").hardlink_to(file)
    with pytest.raises(ModelLoadError, match="found 2 GGUF files; put one there"):
        open_generator(options)
    named = replace(options, config=replace(options.config, default_model_filename="gone.gguf"))
    with pytest.raises(ModelLoadError, match=r"'gone\.gguf' is not in '1'"):
        open_generator(named)
    for one in options.folder.iterdir():
        one.unlink()
    with pytest.raises(ModelLoadError, match=r"found no GGUF file and no openvino_model.xml; .*batchyard build"):
        open_generator(options)
    file.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ModelLoadError, match="GGUF version 0"):
        open_generator(options)
    (options.folder / "openvino_model.xml").write_text("<net/>")
    with pytest.raises(ModelLoadError, match=r"'openvino_tokenizer\.xml' is not in '1'"):
        open_generator(options)


def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    options = model_options(tmp_path / "m", device="TPU")
    with pytest.raises(ModelLoadError, match=r"finds no device 'TPU'.*or batchyard\.fallback to CPU"):
        open_generator(options)
