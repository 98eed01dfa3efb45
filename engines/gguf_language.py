"""The language of a GGUF file: a tokenizer, end-of-text tokens and chat templates, all from its metadata."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Digits, PreTokenizer, Split
from tokenizers.processors import TemplateProcessing

from engines.errors import ModelLoadError
from engines.gguf_file import read_metadata
from engines.language_parts import LanguageParts

_CONTROL, _USER_DEFINED = 3, 4
_ENDS = ("eos", "eot", "eom")
_REMEDY = "put the model's tokenizer.json beside it"
_LLAMA_WORDS = "|".join(
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
        r"[^\r\n\p{L}\p{N}]?\p{L}+",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)
_QWEN_WORDS = _LLAMA_WORDS.replace(r"\p{N}{1,3}", r"\p{N}")


def read_gguf_language(path: Path) -> LanguageParts:
    """Raises `ModelLoadError` for a file that cannot be read, or whose kind of tokenizer is not known here."""
    metadata = _Metadata(path.name, read_metadata(path))
    tokens: Sequence[str] = metadata.wanted("tokens")
    tokenizer = _tokenizer(metadata, tokens)
    named = {name: metadata.token(name, tokens) for name in ("bos", "eos", "unknown", "padding")}
    if metadata.get("add_bos_token", False) and named["bos"]:
        bos = named["bos"]
        numbers = [(bos, int(metadata.wanted("bos_token_id")))]
        tokenizer.post_processor = TemplateProcessing(f"{bos} $A", f"{bos} $A {bos} $B", numbers)
    ends = {int(metadata.get(f"{name}_token_id", -1)) for name in _ENDS} - {-1}
    words = {"bos_token": named["bos"], "eos_token": named["eos"], "unk_token": named["unknown"]}
    return LanguageParts(tokenizer, frozenset(ends), words | {"pad_token": named["padding"]}, metadata.templates())


class _Metadata:
    def __init__(self, name: str, entries: Mapping[str, Any]) -> None:
        self.name = name
        self._entries = entries

    def get(self, key: str, default: Any) -> Any:
        return self._entries.get(f"tokenizer.ggml.{key}", default)

    def wanted(self, key: str) -> Any:
        value = self.get(key, None)
        if value is None:
            raise ModelLoadError(f"{self.name!r} has no tokenizer.ggml.{key}; {_REMEDY}")
        return value

    def token(self, name: str, tokens: Sequence[str]) -> str:
        """The text of a named token, "" where there is none."""
        number = int(self.get(f"{name}_token_id", -1))
        return tokens[number] if 0 <= number < len(tokens) else ""

    def templates(self) -> dict[str, str]:
        key = "tokenizer.chat_template"
        named = {name.removeprefix(f"{key}."): str(text) for name, text in self._entries.items() if f"{key}." in name}
        return named | ({"default": str(self._entries[key])} if key in self._entries else {})


def _tokenizer(metadata: _Metadata, tokens: Sequence[str]) -> tokenizers.Tokenizer:
    model, pre = metadata.wanted("model"), metadata.get("pre", "none")
    words = _WORDS.get(pre)
    if model != "gpt2" or words is None:
        raise ModelLoadError(
            f"{metadata.name!r} has a tokenizer of kind {model!r} with pre-tokenizer {pre!r}; known are kind 'gpt2' "
            f"with {', '.join(_WORDS)}: {_REMEDY}"
        )
    merges = [tuple(merge.split(" ", 1)) for merge in metadata.wanted("merges")]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    try:
        tokenizer = tokenizers.Tokenizer(BPE(vocabulary, merges, ignore_merges=pre == "llama-bpe"))
    except Exception as error:  # the library raises plain Exception
        raise ModelLoadError(f"{metadata.name!r} has merges that do not fit its tokens ({error}); {_REMEDY}") from error
    if pre == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = words()
    tokenizer.decoder = decoders.ByteLevel()
    kinds = metadata.wanted("token_type")
    for kind, add in ((_CONTROL, tokenizer.add_special_tokens), (_USER_DEFINED, tokenizer.add_tokens)):
        special = kind == _CONTROL
        found = [token for token, its in zip(tokens, kinds, strict=True) if its == kind]
        add([AddedToken(token, special=special, normalized=False) for token in found])
    return tokenizer


def _gpt2_words() -> PreTokenizer:
    return ByteLevel(add_prefix_space=False, use_regex=True)


def _smollm_words() -> PreTokenizer:
    return pre_tokenizers.Sequence([Digits(individual_digits=True), _gpt2_words()])


def _split(pattern: str) -> Callable[[], PreTokenizer]:
    def words() -> PreTokenizer:
        split = Split(Regex(pattern), behavior="isolated")
        return pre_tokenizers.Sequence([split, ByteLevel(add_prefix_space=False, use_regex=False)])

    return words


_WORDS: Mapping[str, Callable[[], PreTokenizer]] = MappingProxyType(
    {
        "default": _gpt2_words,
        "gpt-2": _gpt2_words,
        "llama-bpe": _split(_LLAMA_WORDS),
        "qwen2": _split(_QWEN_WORDS),
        "smollm": _smollm_words,
    }
)
