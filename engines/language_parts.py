"""What the files of a causal model say about its language."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers

from engines.chat_template import template_sources
from engines.errors import ModelLoadError
from engines.model_files import read_text

_NAMED = ("bos_token", "eos_token", "unk_token", "pad_token")


@dataclass(frozen=True, slots=True)
class LanguageParts:
    """`words`: texts of special tokens by the names that chat templates use. `templates`: sources by name."""

    tokenizer: tokenizers.Tokenizer
    end_tokens: frozenset[int]
    words: Mapping[str, str]
    templates: Mapping[str, str]


def read_language_parts(folder: Path) -> LanguageParts:
    """Reads tokenizer.json and the files beside it as Hugging Face lays them out; raises `ModelLoadError`."""
    tokenizer = _tokenizer(folder / "tokenizer.json")
    settings = _read_json(folder / "tokenizer_config.json")
    words = {name: text for name in _NAMED if (text := _text(settings.get(name)))}
    ends = {*_ends(folder / "generation_config.json"), *_ends(folder / "config.json")}
    if "eos_token" in words:
        ends.add(_number(tokenizer, words["eos_token"]))
    return LanguageParts(tokenizer, frozenset(ends), words, _templates(folder, settings))


def _tokenizer(path: Path) -> tokenizers.Tokenizer:
    # Threads of the library's own would take the cores of the engines.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        return tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        reason = " ".join(str(error).split())
        raise ModelLoadError(f"{path.name} is not a tokenizer that can be read: {reason}") from error


def _templates(folder: Path, settings: Mapping[str, Any]) -> dict[str, str]:
    """Later ones win: tokenizer_config.json, chat_template.json, chat_template.jinja."""
    found = dict(template_sources(settings.get("chat_template"), "tokenizer_config.json"))
    separate = _read_json(folder / "chat_template.json")
    found.update(template_sources(separate.get("chat_template"), "chat_template.json"))
    jinja = folder / "chat_template.jinja"
    if jinja.is_file():
        found["default"] = read_text(jinja)
    return found


def _read_json(path: Path) -> Mapping[str, Any]:
    """{} for a file that is not there."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(read_text(path))
    except ValueError as error:
        raise ModelLoadError(f"{path.name} is not JSON: {error}; mend it") from None
    if not isinstance(found, dict):
        raise ModelLoadError(f"{path.name} holds no JSON object; mend it")
    return found


def _text(entry: object) -> str:
    """Of a token that is a text, or an object with its `content`."""
    content = entry.get("content") if isinstance(entry, dict) else entry
    return content if isinstance(content, str) else ""


def _ends(path: Path) -> Sequence[int]:
    ends = _read_json(path).get("eos_token_id")
    found = ends if isinstance(ends, list) else [] if ends is None else [ends]
    if not all(isinstance(end, int) for end in found):
        raise ModelLoadError(f"eos_token_id in {path.name} is {ends!r}; give a token id or a list of them")
    return found


def _number(tokenizer: tokenizers.Tokenizer, token: str) -> int:
    number = tokenizer.token_to_id(token)
    if number is None:
        raise ModelLoadError(f"eos_token {token!r} of tokenizer_config.json is not in the vocabulary; mend it")
    return int(number)
