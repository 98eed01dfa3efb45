"""Where a text may be cut, for tokenizers of several kinds."""

import pytest
from tokenizers import AddedToken, Regex, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers.models import BPE, WordLevel, WordPiece

from engines.errors import InvalidInputError
from engines.text import Tokenizer
from engines.text_pieces import INSIDE, PIECE, SENTENCE, WORD, Pieces

PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "my", "card", "is", "lost", "##s", "hello", "world", ",", ".", "卡", "。")
VOCABULARY = {piece: number for number, piece in enumerate(PIECES)}


def bert() -> HuggingFaceTokenizer:
    tokenizer = HuggingFaceTokenizer(WordPiece(VOCABULARY, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    return tokenizer


def byte_level() -> HuggingFaceTokenizer:
    """Every byte a token, the blank before a word too."""
    alphabet = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = HuggingFaceTokenizer(BPE(alphabet, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def pieces(tokenizer: HuggingFaceTokenizer, text: str, most: int = 1000) -> Pieces:
    (found,) = Tokenizer(tokenizer, 6).pieces([text], most)
    return found


def test_words_sentences_and_pieces_are_told_apart() -> None:
    found = pieces(bert(), "My cards, lost. Hello\nworld")
    assert found.ids.tolist() == [VOCABULARY[p] for p in ("my", "card", "##s", ",", "lost", ".", "hello", "world")]
    assert found.breaks.tolist() == [SENTENCE, WORD, INSIDE, PIECE, WORD, PIECE, SENTENCE, SENTENCE]


def test_a_point_within_a_word_ends_no_sentence() -> None:
    assert pieces(bert(), "my card.lost . world").breaks.tolist() == [SENTENCE, WORD, PIECE, PIECE, WORD, SENTENCE]


def test_a_text_without_blanks_ends_sentences_at_wide_stops() -> None:
    assert pieces(bert(), "卡卡。卡").breaks.tolist() == [SENTENCE, PIECE, PIECE, SENTENCE]


def test_bytes_of_a_word_stay_together() -> None:
    found = pieces(byte_level(), "é b.\nc").breaks.tolist()
    assert found == [SENTENCE, INSIDE, WORD, WORD, PIECE, SENTENCE, SENTENCE]


def test_special_tokens_stand_around_a_window() -> None:
    found = pieces(bert(), "my card is lost")
    assert found.special == 2
    assert found.window(1, 3).tolist() == [2, VOCABULARY["card"], VOCABULARY["is"], 3]


def test_special_tokens_are_the_tokenizers_own() -> None:
    tokenizer = bert()
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] [CLS] $A", special_tokens=[("[CLS]", VOCABULARY["[CLS]"])]
    )
    assert pieces(tokenizer, "my card").window(0, 2).tolist() == [2, 2, 4, 5]
    assert pieces(byte_level(), "my").special == 0


@pytest.mark.parametrize("text", ["my card is lost", "  hello , world ", "a" * 300, "x", "[SEP] my", "", "    "])
def test_a_whole_text_is_what_encode_gives(text: str) -> None:
    found = pieces(bert(), text)
    assert found.window(0, len(found.ids)).tolist() == Tokenizer(bert(), 1000).encode([text])[0].tolist()


def test_a_text_may_have_as_many_tokens_as_allowed() -> None:
    assert len(pieces(bert(), "my card " * 50, most=100).ids) == 100
    with pytest.raises(InvalidInputError, match="text 1 has more than 100 tokens or 6400 characters; send it in parts"):
        Tokenizer(bert(), 6).pieces(["my", "my card " * 50 + "my"], 100)


def test_characters_are_bounded_before_any_work() -> None:
    with pytest.raises(InvalidInputError, match="more than 10 tokens or 640 characters"):
        pieces(byte_level(), " " * 641, most=10)


def test_added_tokens_are_pieces() -> None:
    tokenizer = bert()
    tokenizer.add_tokens([AddedToken("<mail>"), AddedToken("<link>")])
    assert pieces(tokenizer, "my <mail><link>card").breaks.tolist() == [SENTENCE, WORD, PIECE, PIECE]


def test_a_tokenizer_that_does_not_split_words() -> None:
    tokenizer = HuggingFaceTokenizer(WordLevel({"a": 0, " ": 1}, unk_token="a"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    assert pieces(tokenizer, "a a").breaks.tolist() == [SENTENCE, WORD, WORD]


def test_text_that_is_no_utf8_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="text 1 is not valid UTF-8"):
        Tokenizer(bert(), 6).pieces([b"my", b"\xff"], 10)
