"""The door of a text generator: a call comes in, one request of tokens for each answer goes on."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from engines.errors import InvalidInputError
from engines.generation import Chat, Feature, GenerationCall, Options, Prompt
from engines.language import THINK, Language
from engines.model_config import ModelConfig, TextGeneration
from engines.text import TokenIds
from engines.text_generator import GenerationRequest, GeneratorLimits, Grammar, Sampling
from service.errors import InvalidRequestError
from service.generation.answer import AnswerPlan
from service.generation.options import check_features, check_options
from service.generation.reasoning import Reasoning
from service.generation.tools import grammar, offered, tool_syntax

_INLINE_CHARACTERS = 2048
"""Longer prompts are rendered and tokenised on a thread, so that the event loop never waits for them."""
_INLINE_ITEMS = 32
_SEEDS = 1 << 63


@dataclass(frozen=True, slots=True)
class GenerationJob:
    """What a call asks of the generator: answer number i * n + j is the j-th to prompt i.

    `prompt_tokens`: of all prompts, each counted once.
    """

    requests: tuple[GenerationRequest, ...]
    plans: tuple[AnswerPlan, ...]
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class _Opening:
    """What answers begin with: `ids`, INT64 [tokens], and the plan for what follows."""

    ids: TokenIds
    plan: AnswerPlan
    grammar: Grammar | None


class GenerationIntake:
    """Checks calls against a model. `check`: the engine's own. `random_seed`: asked where a caller names none."""

    def __init__(
        self,
        config: ModelConfig,
        language: Language,
        limits: GeneratorLimits,
        features: frozenset[Feature],
        check: Callable[[GenerationRequest], None],
        random_seed: Callable[[], int],
    ) -> None:
        self._backend = config.backend
        self._settings = config.generation or TextGeneration()
        self._language = language
        self._window = limits.window
        self._cache = limits.kv_tokens // limits.kv_block * limits.kv_block
        self._most_answers = self._settings.max_waiting + limits.sequences
        self._features = features
        self._check = check
        self._random_seed = random_seed

    async def check(self, call: GenerationCall) -> GenerationJob:
        """The requests of a call. Raises `InvalidRequestError` with the name of OpenAI's parameter that is at fault."""
        check_options(call.options, self._language.vocabulary)
        check_features(call.options, self._features, self._backend)
        self._check_counts(call)
        if _is_small(call):
            return self._job(call)
        return await asyncio.to_thread(self._job, call)

    def _check_counts(self, call: GenerationCall) -> None:
        if not call.prompts:
            raise InvalidRequestError("there is no prompt; send at least one", "prompt")
        count = len(call.prompts) * call.options.n
        if count > self._most_answers:
            text = f"{len(call.prompts)} prompts, {call.options.n} times each, are {count} answers; ask for at most "
            raise InvalidRequestError(f"{text}{self._most_answers}", "n" if call.options.n > 1 else "prompt")
        for prompt in call.prompts:
            if isinstance(prompt, Chat) and not 1 <= len(prompt.messages) <= self._window:
                text = f"the chat has {len(prompt.messages)} messages; send 1 to {self._window}"
                raise InvalidRequestError(text, "messages")

    def _job(self, call: GenerationCall) -> GenerationJob:
        openings = [self._opening(prompt, call.options) for prompt in call.prompts]
        requests = [request for opening in openings for request in self._requests(opening, call.options)]
        plans = [opening.plan for opening in openings for _ in range(call.options.n)]
        return GenerationJob(tuple(requests), tuple(plans), sum(opening.ids.size for opening in openings))

    def _opening(self, prompt: Prompt, options: Options) -> _Opening:
        if isinstance(prompt, Chat):
            return self._of_chat(offered(prompt), options)
        made = grammar(None, options, self._features, self._backend)
        try:
            ids = self._ids(prompt)
        except InvalidInputError as error:
            raise InvalidRequestError(str(error), "prompt") from None
        echo = ""
        if options.echo:
            echo = prompt if isinstance(prompt, str) else self._language.decode(ids.tolist())
        return _Opening(ids, AnswerPlan(echo, options.stop, logprobs=options.logprobs), made)

    def _ids(self, prompt: str | TokenIds) -> TokenIds:
        ids = self._language.encode(prompt, self._most_prompt, special=True) if isinstance(prompt, str) else prompt
        self._language.check(ids, self._most_prompt)
        return ids

    def _of_chat(self, chat: Chat, options: Options) -> _Opening:
        if options.echo:
            raise InvalidRequestError("a chat cannot be echoed; leave echo out", "echo")
        syntax = tool_syntax(chat, self._settings.tools)
        made = grammar(chat, options, self._features, self._backend)
        try:
            self._language.check_lengths([message.content for message in chat.messages], self._most_prompt)
            text = self._language.render(chat)
            ids = self._language.encode(text, self._most_prompt, special=False)
            self._language.check(ids, self._most_prompt)
        except InvalidInputError as error:
            raise InvalidRequestError(str(error), "messages") from None
        return _Opening(ids, AnswerPlan("", options.stop, syntax, self._reasoning(text, made), options.logprobs), made)

    def _reasoning(self, text: str, made: Grammar | None) -> Reasoning:
        """Where a grammar leaves no free text, there is no room for reasoning either."""
        if self._settings.reasoning == "none" or (made is not None and (made.json_schema or made.only_calls)):
            return "none"
        return "begun" if text.rstrip().endswith(THINK) else "expected"

    @property
    def _most_prompt(self) -> int:
        """Tokens that leave room for one more."""
        return min(self._window, self._cache) - 1

    def _requests(self, opening: _Opening, options: Options) -> Iterator[GenerationRequest]:
        """One for each answer to a prompt: they differ in their seeds only."""
        first = GenerationRequest(opening.ids, self._sampling(int(opening.ids.size), options), opening.grammar)
        try:
            self._check(first)
        except InvalidInputError as error:
            raise InvalidRequestError(str(error), _param_of(opening.grammar)) from None
        yield first
        for number in range(1, options.n):
            seed = (first.sampling.seed + number) % _SEEDS
            yield replace(first, sampling=replace(first.sampling, seed=seed))

    def _sampling(self, prompt: int, options: Options) -> Sampling:
        settings = self._settings
        seed = self._random_seed() if options.seed is None else options.seed
        return Sampling(
            max_tokens=self._max_tokens(prompt, options),
            temperature=settings.temperature if options.temperature is None else options.temperature,
            top_p=settings.top_p if options.top_p is None else options.top_p,
            top_k=options.top_k,
            min_p=options.min_p,
            seed=seed % _SEEDS,
            presence_penalty=options.presence_penalty,
            frequency_penalty=options.frequency_penalty,
            repetition_penalty=options.repetition_penalty,
            logit_bias=options.logit_bias,
            logprobs=options.logprobs,
            ignore_eos=options.ignore_eos,
        )

    def _max_tokens(self, prompt: int, options: Options) -> int:
        left = min(self._window, self._cache) - prompt
        if options.max_tokens is None:
            return min(self._settings.max_tokens or left, left)
        if options.max_tokens <= left:
            return options.max_tokens
        both = prompt + options.max_tokens
        what = f"its window is {self._window}" if both > self._window else f"its cache holds {self._cache}"
        raise InvalidRequestError(
            f"{prompt} tokens of the prompt and {options.max_tokens} of max_tokens are {both}, but {what}; ask for at "
            f"most {left}",
            "max_tokens",
        )


def _is_small(call: GenerationCall) -> bool:
    """Is it prepared in less than about a millisecond?"""
    if call.options.json_schema or len(call.prompts) > _INLINE_ITEMS:
        return False
    sizes = [_size(prompt) for prompt in call.prompts]
    return sum(sizes) <= _INLINE_CHARACTERS


def _size(prompt: Prompt) -> int:
    if isinstance(prompt, str):
        return len(prompt)
    if not isinstance(prompt, Chat):
        return int(prompt.size) // 64
    if prompt.tools or len(prompt.messages) > _INLINE_ITEMS:
        return _INLINE_CHARACTERS + 1
    calls = [call for message in prompt.messages for call in message.tool_calls]
    texts = sum(len(message.content) + len(message.reasoning) for message in prompt.messages)
    return texts + sum(len(call.name) + len(call.arguments) for call in calls)


def _param_of(made: Grammar | None) -> str | None:
    if made is None:
        return None
    return "response_format" if made.json_schema else "tools"
