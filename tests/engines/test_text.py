from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tokenizers import AddedToken, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers.models import BPE, WordPiece

from engines.errors import InvalidInputError, ModelLoadError
from engines.text import Tokenizer

PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "my", "card", "is", "lost", "##s", "hello", "world", ",", "é")
VOCABULARY = {piece: number for number, piece in enumerate(PIECES)}
CLS, SEP = VOCABULARY["[CLS]"], VOCABULARY["[SEP]"]


def bert() -> HuggingFaceTokenizer:
    tokenizer = HuggingFaceTokenizer(WordPiece(VOCABULARY, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", SEP), ("[CLS]", CLS))
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    return tokenizer


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tokenizer.json"
    tokenizer = bert()
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=128)
    tokenizer.save(str(path))
    return path


def ids(*pieces: str) -> list[int]:
    return [CLS, *(VOCABULARY[piece] for piece in pieces), SEP]


def test_encodes_bytes_and_str_with_special_tokens_and_nothing_else(file: Path) -> None:
    found = Tokenizer.from_file(file, 16).encode([b"My cards", "lost", b"", "café é".encode()])
    assert [each.tolist() for each in found] == [ids("my", "card", "##s"), ids("lost"), ids(), ids("[UNK]", "é")]
    assert {each.dtype for each in found} == {np.dtype(np.int64)}


def test_decodes_without_special_tokens(file: Path) -> None:
    assert Tokenizer.from_file(file, 16).decode(ids("hello", "world")) == "hello world"


def test_a_text_as_long_as_the_window_fits_and_one_token_more_does_not(file: Path) -> None:
    tokenizer = Tokenizer.from_file(file, 6)
    assert len(tokenizer.encode(["my card is lost"])[0]) == 6
    with pytest.raises(InvalidInputError) as refused:
        tokenizer.encode(["my card is lost ,"])
    assert str(refused.value).startswith("text of 7 tokens is longer than the model's window of 6; shorten it")


def test_truncates_when_told(file: Path) -> None:
    tokenizer = Tokenizer.from_file(file, 4, truncate=True)
    assert tokenizer.encode(["my card is lost"])[0].tolist() == ids("my", "card")


LONG = ["hello world " * 5000, "my, cards\n" * 5000, "é " * 5000 + "hello " * 5000, " " * 50000 + "card"]


@pytest.mark.parametrize("text", LONG)
def test_long_texts_are_cut_as_if_tokenised_whole(file: Path, text: str) -> None:
    whole = bert().encode(text, add_special_tokens=False).ids
    found = Tokenizer.from_file(file, 50, truncate=True).encode([text])[0].tolist()
    assert found == [CLS, *whole[:48], SEP]


def test_long_texts_are_refused_before_they_are_tokenised(file: Path) -> None:
    with pytest.raises(InvalidInputError, match="more than 50 tokens"):
        Tokenizer.from_file(file, 50).encode([LONG[0]])


@pytest.mark.parametrize("text", [" " * 50000 + "card", "a" * 50000])
def test_long_texts_of_few_tokens_are_served(file: Path, text: str) -> None:
    assert len(Tokenizer.from_file(file, 8).encode([text])[0]) == 3


def test_words_are_not_counted_where_a_token_may_span_them() -> None:
    tokenizer = bert()
    tokenizer.add_tokens([AddedToken("hello world")])
    assert len(Tokenizer(tokenizer, 1100).encode(["hello world " * 1000])[0]) == 1002


def test_words_are_not_counted_for_other_kinds_of_tokenizer() -> None:
    model = BPE({"a": 0, " ": 1, "a ": 2, "a a ": 3}, [("a", " "), ("a ", "a ")])
    assert len(Tokenizer(HuggingFaceTokenizer(model), 2600).encode(["a " * 5000])[0]) == 2500


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"card \xff", r"text 1 is not valid UTF-8 at byte 5 \(0xff\); send UTF-8"),
        (b"caf\xc3", r"at byte 3 \(0xc3\)"),
        ("card \ud800", "text 1 has a lone surrogate at character 5"),
    ],
)
def test_text_that_is_no_unicode_names_the_place(file: Path, text: bytes | str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Tokenizer.from_file(file, 16).encode(["card", text])


def test_threads_share_a_tokenizer(file: Path) -> None:
    tokenizer = Tokenizer.from_file(file, 10000, truncate=True)
    texts = [" ".join(["my", "card", "is", "lost"][: 1 + i % 4] * (1 + i * 20)) for i in range(64)]
    alone = [tokenizer.encode([text])[0].tolist() for text in texts]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda text: tokenizer.encode([text])[0].tolist(), texts))
    assert together == alone


@pytest.mark.parametrize("content", [b"{}", b"not json", b"\xff"])
def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(ModelLoadError, match=r"tokenizer\.json is not a tokenizer that can be read"):
        Tokenizer.from_file(path, 16)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"tokenizer\.json"):
        Tokenizer.from_file(tmp_path / "tokenizer.json", 16)


def test_a_window_with_no_room_for_text_is_refused(file: Path) -> None:
    with pytest.raises(ModelLoadError, match="use at least 3"):
        Tokenizer.from_file(file, 2)
