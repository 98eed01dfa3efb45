"""A call in the JSON of the OpenAI API, with the extensions that vLLM, SGLang and llama.cpp share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from engines.errors import InvalidInputError
from engines.generation import Chat, GenerationCall, Message, Options, Prompt, Tool
from engines.openai_upstream_settings import Defaults

CHAT_PATH = "/chat/completions"
COMPLETIONS_PATH = "/completions"

_LLAMA_CPP = "llamacpp"
"""What llama.cpp says in `owned_by` of its models."""
_LEAST_LOGPROBS = 1
"""llama.cpp takes 0 for none at all; what was not asked for is dropped from the answer."""


@dataclass(frozen=True, slots=True)
class RequestWriter:
    """Writes requests for the model that the other server calls `model`. `owner`: what it says of its models' owner."""

    model: str
    defaults: Defaults
    owner: str = ""

    def write(self, call: GenerationCall) -> tuple[str, bytes]:
        """The path behind the base URL, and the body; raises `InvalidInputError` for what the API has no words for."""
        if not call.prompts:
            raise InvalidInputError("there is no prompt; send at least one")
        first = call.prompts[0]
        if isinstance(first, Chat):
            if len(call.prompts) > 1:
                raise InvalidInputError("a request can hold one chat; send the others by themselves")
            path, body = CHAT_PATH, self._chat(first, call.options)
        else:
            path, body = COMPLETIONS_PATH, self._completion(call.prompts, call.options)
        fixed = {"model": self.model, "stream": True, "stream_options": {"include_usage": True}}
        try:
            return path, msgspec.json.encode(fixed | body | self._sampling(call.options))
        except UnicodeEncodeError as error:
            raise InvalidInputError(f"the prompt holds half a character: {error.reason}") from None

    def _chat(self, chat: Chat, options: Options) -> dict[str, Any]:
        if options.echo:
            raise InvalidInputError("a chat's answer cannot start with its prompt; leave echo out")
        body: dict[str, Any] = {"messages": [_message(message) for message in chat.messages]}
        if chat.tools:
            body["tools"] = [_tool(tool) for tool in chat.tools]
            named = {"type": "function", "function": {"name": chat.must_call}}
            body["tool_choice"] = named if chat.must_call else chat.tool_choice
            body["parallel_tool_calls"] = chat.parallel_tool_calls
        if options.logprobs is not None:
            body |= {"logprobs": True, "top_logprobs": max(_LEAST_LOGPROBS, options.logprobs)}
        if options.json_schema:
            schema = {"name": "answer", "schema": _json(options.json_schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body

    def _completion(self, prompts: tuple[Prompt, ...], options: Options) -> dict[str, Any]:
        if options.json_schema:
            raise InvalidInputError("servers differ in how a plain completion is bound to a schema; send a chat")
        plain = [_plain(prompt) for prompt in prompts]
        if len({type(prompt) for prompt in plain}) > 1:
            raise InvalidInputError("texts and token ids cannot be mixed in one request; send them apart")
        body: dict[str, Any] = {"prompt": plain[0] if len(plain) == 1 else plain}
        if options.echo and (options.logprobs is not None or not all(isinstance(text, str) for text in plain)):
            if self.owner == _LLAMA_CPP:
                raise InvalidInputError("llama.cpp echoes no token ids and no logprobs; leave echo out")
            body["echo"] = True
        if options.logprobs is not None:
            body["logprobs"] = max(_LEAST_LOGPROBS, options.logprobs)
        return body

    def _sampling(self, options: Options) -> dict[str, Any]:
        """What differs from the API's own defaults, so that nothing is sent that a server need not know."""
        defaults = self.defaults
        penalty = "repeat_penalty" if self.owner == _LLAMA_CPP else "repetition_penalty"
        found = {
            "max_tokens": defaults.max_tokens if options.max_tokens is None else options.max_tokens,
            "temperature": defaults.temperature if options.temperature is None else options.temperature,
            "top_p": defaults.top_p if options.top_p is None else options.top_p,
            "seed": options.seed,
            "n": options.n if options.n != 1 else None,
            "stop": options.stop or None,
            "top_k": options.top_k or None,
            "min_p": options.min_p or None,
            "presence_penalty": options.presence_penalty or None,
            "frequency_penalty": options.frequency_penalty or None,
            penalty: options.repetition_penalty if options.repetition_penalty != 1 else None,
            "logit_bias": {str(token): bias for token, bias in options.logit_bias.items()} or None,
            "ignore_eos": options.ignore_eos or None,
        }
        return {name: value for name, value in found.items() if value is not None}


def _message(message: Message) -> dict[str, Any]:
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        body["content"] = message.content or None
        body["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    more = {"name": message.name, "tool_call_id": message.tool_call_id, "reasoning_content": message.reasoning}
    return body | {name: value for name, value in more.items() if value}


def _tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "parameters": tool.parameters}
    if tool.description:
        function["description"] = tool.description
    if tool.strict:
        function["strict"] = True
    return {"type": "function", "function": function}


def _plain(prompt: Prompt) -> str | list[int]:
    if isinstance(prompt, Chat):
        raise InvalidInputError("a chat cannot share a request with other prompts; send it by itself")
    if isinstance(prompt, str):
        return prompt
    ids: list[int] = np.asarray(prompt).tolist()
    return ids


def _json(text: str) -> Mapping[str, Any]:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidInputError(f"the JSON schema is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise InvalidInputError(f"the JSON schema is of type {type(found).__name__}; it must be an object")
    return found
