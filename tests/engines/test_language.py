from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from engines.errors import InvalidInputError, ModelLoadError
from engines.generation import Chat, Message, Tool
from engines.language import Language, open_language
from engines.model_config import TextGeneration
from tests.engines.tiny_language import (
    VOCABULARY,
    byte_level,
    config,
    sentence_piece,
    tiny_language,
    whole_words,
    write_language,
)

LIBRARY = byte_level()
TEXTS = st.text(max_size=60) | st.text("你好😀👨‍👩‍👧é́한 card\n", max_size=40) | st.sampled_from(["the card", "home 家"])


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Language:
    return tiny_language(tmp_path_factory.mktemp("m"))


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Language:
    """A SentencePiece-like language."""
    return open_language(config(), write_language(tmp_path_factory.mktemp("p"), sentence_piece()), "1")


def streamed(language: Language, ids: list[int]) -> str:
    stream = language.stream()
    return "".join([*map(stream.push, ids), stream.flush()])


@given(TEXTS)
def test_a_text_comes_back_whole_from_its_stream(language: Language, text: str) -> None:
    ids = language.encode(text, 1000, special=False).tolist()
    assert streamed(language, ids) == text == language.decode(ids)


@given(TEXTS)
def test_every_piece_of_a_stream_is_whole_characters(language: Language, text: str) -> None:
    stream = language.stream()
    shown = ""
    for token in language.encode(text, 1000, special=False).tolist():
        shown += stream.push(token)
        assert text.startswith(shown)
    assert stream.flush() == ""


@given(st.lists(st.integers(0, VOCABULARY - 1), max_size=40))
def test_any_tokens_stream_to_what_the_library_decodes(language: Language, ids: list[int]) -> None:
    assert streamed(language, ids) == language.decode(ids) == LIBRARY.decode(ids)


def test_an_incomplete_character_is_flushed_as_a_replacement(language: Language) -> None:
    *most, _ = language.encode("a😀", 10, special=False).tolist()
    stream = language.stream()
    assert "".join(map(stream.push, most)) == "a"
    assert stream.flush() == "\ufffd"


def test_special_tokens_are_not_shown_and_foreign_ones_do_no_harm(language: Language) -> None:
    ids = language.encode("<|start|>card<|end|>", 10, special=False).tolist()
    assert ids[0] == 0
    assert ids[-1] == 1
    assert language.decode(ids) == "card"
    assert language.stream().push(99_999) == ""


def test_bytes_of_tokens(language: Language) -> None:
    ids = language.encode("the 你", 20, special=False).tolist()
    assert b"".join(map(language.token_bytes, ids)) == "the 你".encode()
    assert language.token_bytes(0) == b"<|start|>"
    assert language.token_text(ids[-1]) == "\ufffd"
    assert language.token_bytes(99_999) == b""


@given(st.text("card 你é😀", max_size=30))
def test_pieces_with_byte_fallback_come_back(pieces: Language, text: str) -> None:
    ids = pieces.encode(text, 1000, special=False).tolist()
    assert streamed(pieces, ids) == text
    assert pieces.decode(ids) == sentence_piece().decode(ids)


def test_invalid_bytes_never_break_a_stream_of_pieces(pieces: Language) -> None:
    """On such answers the library's own stream raises."""
    stray = 3 + 0xBD
    card = pieces.encode("card", 9, special=False).tolist()
    assert streamed(pieces, [stray, *card, stray]) == "\ufffd card\ufffd"


def test_only_the_first_space_is_left_out(pieces: Language) -> None:
    card = pieces.encode("card", 9, special=False).tolist()
    stream = pieces.stream()
    assert [stream.push(token) for token in card * 2] == ["card", " card"]
    blank = pieces.encode(" card", 9, special=False).tolist()
    assert streamed(pieces, blank) == " card"


def test_a_start_token_is_added_where_asked(language: Language) -> None:
    assert language.encode("card", 9, special=True).tolist()[0] == 0
    assert language.encode("card", 9, special=False).tolist()[0] != 0
    assert language.encode("card", 9, special=True).dtype == np.int64


def test_the_limit_is_told_with_numbers(language: Language) -> None:
    assert language.encode("zq" * 5, 10, special=False).size == 10
    with pytest.raises(InvalidInputError, match="has 11 tokens, the model takes at most 10"):
        language.encode("zq" * 5 + "z", 10, special=False)


def test_far_too_long_texts_are_refused_without_tokenising(language: Language, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "_tokenizer", None)
    for text in ("a" * 10_000_000, "你" * 3_000_000, "lorem ipsum " * 100_000):
        with pytest.raises(InvalidInputError, match="more than 10 tokens"):
            language.encode(text, 10, special=False)


@pytest.mark.parametrize("text", ["the card was lost " * 2000, "z" * 30_000, "你" * 20_000])
def test_of_long_texts_only_the_start_is_looked_at(language: Language, text: str) -> None:
    with pytest.raises(InvalidInputError, match="more than 1000 tokens"):
        language.encode(text, 1000, special=False)


def test_a_dense_start_does_not_refuse_a_text_that_fits(tmp_path: Path) -> None:
    tokenizer = byte_level()
    sparse = f"<{'x' * 100}>"
    tokenizer.add_special_tokens([sparse])
    language = open_language(config(), write_language(tmp_path, tokenizer), "1")
    assert language.encode("<|start|>" * 900 + sparse * 100, 1000, special=False).size == 1000


@given(st.text("card 你<|end|>", min_size=1, max_size=30), st.integers(1, 400))
def test_a_text_within_the_limit_is_never_refused(language: Language, text: str, times: int) -> None:
    whole = text * times
    ids = LIBRARY.encode(whole, add_special_tokens=False).ids
    assert language.encode(whole, len(ids), special=False).tolist() == ids


def test_bytes_without_a_token_are_not_counted(tmp_path: Path) -> None:
    tokenizer = tokenizers.Tokenizer(BPE({"a": 0, "b": 1}, []))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    language = open_language(config(), write_language(tmp_path, tokenizer), "1")
    assert language.encode("zzza", 1, special=False).tolist() == [0]
    with pytest.raises(InvalidInputError, match="more than 1 tokens"):
        language.encode("zzab", 1, special=False)


def test_lone_surrogates_are_refused(language: Language) -> None:
    with pytest.raises(InvalidInputError, match="lone surrogate at character 1"):
        language.encode("a\ud800", 10, special=False)


@pytest.mark.parametrize(
    ("ids", "message"),
    [([], "no tokens"), ([1] * 9, "has 9 tokens"), ([3, -1], "id -1 is not"), ([290], "which has 0 to 289")],
)
def test_token_ids_of_callers_are_checked(language: Language, ids: list[int], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        language.check(np.array(ids, np.int64), 8)
    language.check(np.array([0, VOCABULARY - 1], np.int64), 8)


def test_a_chat_is_rendered_up_to_the_answer(language: Language) -> None:
    chat = Chat((Message("system", "Be kind."), Message("user", "你好")))
    assert language.render(chat) == (
        "<|start|>system\nBe kind.<|end|>\n<|start|>user\n你好<|end|>\n<|start|>assistant\n"
    )


def test_end_tokens_are_gathered_from_all_files(tmp_path: Path) -> None:
    home = write_language(
        tmp_path,
        byte_level(),
        generation_config_json={"eos_token_id": [1, 5]},
        config_json={"eos_token_id": 7},
        tokenizer_config_json={"eos_token": {"content": "<|start|>"}},
    )
    assert open_language(config(), home, "1").end_tokens == {0, 1, 5, 7}


def test_templates_may_use_the_named_tokens(tmp_path: Path) -> None:
    settings = {"bos_token": "<|start|>", "chat_template": "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}"}
    home = write_language(tmp_path, byte_level(), tokenizer_config_json=settings)
    assert open_language(config(), home, "1").render(Chat((Message("user", "hi"),))) == "<|start|>hi"


def test_which_template_wins(tmp_path: Path) -> None:
    home = write_language(tmp_path, byte_level(), tokenizer_config_json={"chat_template": "settings"})
    chat = Chat((Message("user", "hi"),))
    assert open_language(config(), home, "1").render(chat) == "settings"
    (home / "1" / "chat_template.json").write_text('{"chat_template": "separate"}')
    assert open_language(config(), home, "1").render(chat) == "separate"
    (home / "1" / "chat_template.jinja").write_text("jinja")
    assert open_language(config(), home, "1").render(chat) == "jinja"
    (home / "mine.jinja").write_text("mine")
    assert open_language(config(TextGeneration(chat_template="mine.jinja")), home, "1").render(chat) == "mine"


def test_a_list_of_templates_has_one_for_tools(tmp_path: Path) -> None:
    named = [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "{{ tools[0].function.name }}"}]
    home = write_language(tmp_path, byte_level(), tokenizer_config_json={"chat_template": named})
    language = open_language(config(), home, "1")
    assert language.render(Chat((Message("user", "hi"),))) == "plain"
    assert language.render(Chat((Message("user", "hi"),), (Tool("look"),))) == "look"


def test_a_model_without_a_template_says_what_to_do(tmp_path: Path) -> None:
    language = open_language(config(), write_language(tmp_path, byte_level()), "1")
    with pytest.raises(InvalidInputError, match=r"batchyard\.generation\.chat_template"):
        language.render(Chat((Message("user", "hi"),)))


def test_tags_in_use_are_shown_though_special(tmp_path: Path) -> None:
    tokenizer = byte_level()
    tokenizer.add_special_tokens(["<think>", "<tool_call>"])
    home = write_language(tmp_path, tokenizer)
    tags = [tokenizer.token_to_id("<think>"), tokenizer.token_to_id("<tool_call>")]
    shown = open_language(config(TextGeneration(reasoning="deepseek_r1")), home, "1")
    assert shown.decode(tags) == "<think><tool_call>"
    assert open_language(config(TextGeneration(tools="none")), home, "1").decode(tags) == ""


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"tokenizer_config_json": "{"}, "tokenizer_config.json is not JSON"),
        ({"tokenizer_config_json": "[]"}, "holds no JSON object"),
        ({"tokenizer_config_json": {"eos_token": "</s>"}}, "not in the vocabulary"),
        ({"tokenizer_config_json": {"chat_template": 3}}, "neither a text nor a list"),
        ({"generation_config_json": {"eos_token_id": "x"}}, "give a token id"),
        ({"chat_template_jinja": "a\n{% if %}"}, "line 2 does not compile"),
        ({"tokenizer_json": "{}"}, "tokenizer.json is not a tokenizer"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, files: dict[str, object], message: str) -> None:
    with pytest.raises(ModelLoadError, match=message):
        open_language(config(), write_language(tmp_path, byte_level(), **files), "1")


def test_a_folder_without_a_language_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    with pytest.raises(ModelLoadError, match=r"no tokenizer\.json and no GGUF file"):
        open_language(config(), tmp_path, "1")
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / "1" / name).touch()
    with pytest.raises(ModelLoadError, match="2 GGUF files"):
        open_language(config(), tmp_path, "1")


def test_a_foreign_decoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"decoder \(WordPiece\) is not known"):
        open_language(config(), write_language(tmp_path, whole_words()), "1")
