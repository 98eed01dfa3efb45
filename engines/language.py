"""The language of a causal model: its tokenizer, its end-of-text tokens and its chat template."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tokenizers

from engines.chat_template import ChatTemplate
from engines.chat_words import message_words, told_in_text, tool_words
from engines.errors import InvalidInputError, ModelLoadError
from engines.generation import Chat
from engines.gguf_language import read_gguf_language
from engines.language_parts import LanguageParts, read_language_parts
from engines.model_config import ModelConfig, TextGeneration
from engines.model_files import file_inside, read_text
from engines.text import LONG_TEXT, TokenIds
from engines.text_bound import TextBound
from engines.text_generator import ToolSyntax
from engines.text_stream import TextStream, skipped_spaces, token_pieces

THINK, THINK_END = "<think>", "</think>"
"""Around the reasoning of models that write it as DeepSeek R1 does."""
HERMES = ToolSyntax()

_WORD_END = re.compile(r"[A-Za-z](?= [A-Za-z])")
_PROBE = 8
"""Characters a token of the part of a long text that is looked at first."""


class Language:
    """Takes `parts.tokenizer` over. Immutable after; threads share it.

    `templates`: compiled, by name. `shown`: tokens that are shown though they are special ones.
    `vocabulary`: token ids are below it. `longest_token`: the most bytes of text that one token stands for.
    """

    def __init__(
        self, parts: LanguageParts, templates: Mapping[str, ChatTemplate], shown: frozenset[str] = frozenset()
    ) -> None:
        tokenizer = parts.tokenizer
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.end_tokens = parts.end_tokens
        self._tokenizer = tokenizer
        self._pieces = token_pieces(tokenizer)
        self._shown = _visible(tokenizer, self._pieces, shown)
        self._skip = skipped_spaces(tokenizer)
        self.vocabulary = len(self._pieces)
        self._bound = TextBound(tokenizer, self._pieces)
        self.longest_token = self._bound.longest
        self._words = dict(parts.words)
        self._templates = dict(templates)

    def encode(self, text: str, most: int, *, special: bool) -> TokenIds:
        """Token ids, INT64 [tokens]. `special`: with those that the tokenizer adds itself, such as one at the start.

        Raises `InvalidInputError` beyond `most` tokens and for lone surrogates. A text too long for sure is refused
        within a millisecond; one of `LONG_TEXT` characters and more releases Python's lock, so give it to a thread.
        """
        self.check_lengths([text], most)
        _check_characters(text)
        if len(text) < LONG_TEXT:
            ids: Sequence[int] = self._tokenizer.encode(text, add_special_tokens=special).ids
        else:
            self._check_start(text, most)
            ids = self._encode_long(text, special=special)
        if len(ids) > most:
            raise _too_long(str(len(ids)), most)
        return np.array(ids, np.int64)

    def check_lengths(self, texts: Sequence[str], most: int) -> None:
        """Raises `InvalidInputError` for texts that surely have more than `most` tokens, within 2 ms."""
        if self._bound.are_over(texts, most):
            raise _too_long(f"more than {most}", most)

    def _check_start(self, text: str, most: int) -> None:
        """Looks at the start of a long text: is it too long already?

        Where a word ends, nothing that follows changes the tokens before. Elsewhere it can change the last few only,
        so twice too many are too many.
        """
        start = most * _PROBE
        if len(text) < 2 * start:
            return
        end = _WORD_END.search(text, start, start + LONG_TEXT) if self._bound.splits_words else None
        allowed = most if end is not None else 2 * most
        if len(self._encode_long(text[: end.end() if end is not None else start], special=False)) > allowed:
            raise _too_long(f"more than {most}", most)

    def _encode_long(self, text: str, *, special: bool) -> Sequence[int]:
        (encoding,) = self._tokenizer.encode_batch_fast([text], add_special_tokens=special)
        ids: Sequence[int] = encoding.ids
        return ids

    def check(self, ids: TokenIds, most: int) -> None:
        """Raises `InvalidInputError` for token ids [tokens] that are none, too many, or outside the vocabulary."""
        if ids.size == 0:
            raise InvalidInputError("the prompt has no tokens; send at least one")
        if ids.size > most:
            raise _too_long(str(ids.size), most)
        low, high = int(ids.min()), int(ids.max())
        if low < 0 or high >= self.vocabulary:
            wrong = low if low < 0 else high
            raise InvalidInputError(f"token id {wrong} is not in the vocabulary, which has 0 to {self.vocabulary - 1}")

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens left out."""
        stream = self.stream()
        return "".join([*map(stream.push, ids), stream.flush()])

    def token_bytes(self, token: int) -> bytes:
        """The bytes of a token, be they part of a character only; special tokens are as they are written."""
        return self._pieces[token] if 0 <= token < self.vocabulary else b""

    def token_text(self, token: int) -> str:
        """The text of a token; U+FFFD for parts of characters."""
        return self.token_bytes(token).decode(errors="replace")

    def stream(self) -> TextStream:
        """For the text of one answer, special tokens left out."""
        return TextStream(self._shown, self._skip)

    def render(self, chat: Chat) -> str:
        """The prompt of a chat, up to where the answer begins. Raises `InvalidInputError`: the template's words."""
        template = self._templates.get("tool_use" if chat.tools and "tool_use" in self._templates else "default")
        if template is None:
            raise InvalidInputError(
                "the model has no chat template; send a prompt instead, or have its configuration name a template by "
                "batchyard.generation.chat_template"
            )
        knows_tools = template.knows_tools
        messages = chat.messages if knows_tools else told_in_text(chat, HERMES)
        tools = tool_words(chat.tools) if knows_tools and chat.tools else None
        variables = {"messages": message_words(messages), "tools": tools, "documents": None}
        return template.render(self._words | variables | {"add_generation_prompt": True})


def open_language(config: ModelConfig, folder: Path, version: str) -> Language:
    """The language of a version: of its tokenizer.json and the files beside it, else of its GGUF file.

    Raises `ModelLoadError`, also for a chat template that does not compile.
    """
    settings = config.generation or TextGeneration()
    home = folder / version
    parts = _read_parts(home)
    sources = dict(parts.templates)
    if settings.chat_template:
        sources = {"default": read_text(file_inside(folder, settings.chat_template))}
    templates = {
        name: ChatTemplate(source, settings.chat_template or f"version {version}, template {name!r}")
        for name, source in sources.items()
    }
    shown = {THINK, THINK_END} if settings.reasoning == "deepseek_r1" else set()
    if settings.tools == "hermes":
        shown |= {HERMES.begin.strip(), HERMES.end.strip()}
    return Language(parts, templates, frozenset(shown))


def _read_parts(home: Path) -> LanguageParts:
    if (home / "tokenizer.json").is_file():
        return read_language_parts(home)
    files = sorted(home.glob("*.gguf"))
    if len(files) != 1:
        found = "no GGUF file" if not files else f"{len(files)} GGUF files"
        raise ModelLoadError(f"version {home.name} has no tokenizer.json and {found}; put its tokenizer.json there")
    return read_gguf_language(files[0])


def _visible(tokenizer: tokenizers.Tokenizer, pieces: Sequence[bytes], shown: frozenset[str]) -> list[bytes]:
    visible = list(pieces)
    for number, token in tokenizer.get_added_tokens_decoder().items():
        if token.special and token.content not in shown:
            visible[number] = b""
    return visible


def _check_characters(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"the text has a lone surrogate at character {error.start}; send whole Unicode characters"
        ) from None


def _too_long(tokens: str, most: int) -> InvalidInputError:
    return InvalidInputError(f"the prompt has {tokens} tokens, the model takes at most {most}; shorten it")
