"""Small languages made in a moment: a byte-level one, a SentencePiece-like one, and their model folders."""

import json
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from tritonclient.grpc.model_config_pb2 import ModelConfig as ModelConfigProto

from engines.language import Language, open_language
from engines.model_config import ModelConfig, TextGeneration

VOCABULARY = 290
SPECIAL = ("<|start|>", "<|end|>")
CORPUS = ("the card was lost on the way home, and the bank sent another card to the home of the customer. " * 4,)
TEMPLATE = (
    "{% for m in messages %}<|start|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}{{ '<|start|>assistant\n' }}"
)


def byte_level() -> tokenizers.Tokenizer:
    """Every byte, and a few merges."""
    tokenizer = tokenizers.Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken(token, special=True, normalized=False) for token in SPECIAL]
    alphabet = ByteLevel.alphabet()
    trainer = BpeTrainer(vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    start = tokenizer.token_to_id("<|start|>")
    tokenizer.post_processor = TemplateProcessing("<|start|> $A", "<|start|> $A $B", [("<|start|>", start)])
    return tokenizer


def sentence_piece(strip: int = 1) -> tokenizers.Tokenizer:
    """Pieces with byte fallback, as Llama 2 has them; `strip` spaces are left out at the start of a text."""
    names = [*SPECIAL, "<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "c", "a", "r", "d", "你", "▁c", "ar"]
    vocabulary = {name: number for number, name in enumerate([*names, "▁car", "▁card"])}
    merges = [("▁", "c"), ("a", "r"), ("▁c", "ar"), ("▁car", "d")]
    tokenizer = tokenizers.Tokenizer(BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", strip, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return tokenizer


def whole_words() -> tokenizers.Tokenizer:
    """A decoder that no causal model has."""
    tokenizer = byte_level()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def config(generation: TextGeneration | None = None) -> ModelConfig:
    """Of a model named m."""
    return ModelConfig("m", "echo", "", 0, (), (), ModelConfigProto(), generation=generation or TextGeneration())


def write_language(folder: Path, tokenizer: tokenizers.Tokenizer, **files: object) -> Path:
    """A model's folder with version 1: tokenizer.json, and `name_json=...`, `name_jinja=...` beside it."""
    version = folder / "1"
    version.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(version / "tokenizer.json"))
    for name, content in files.items():
        stem, _, kind = name.rpartition("_")
        text = content if isinstance(content, str) else json.dumps(content)
        (version / f"{stem}.{kind}").write_text(text, "utf-8")
    return folder


def tiny_language(folder: Path, generation: TextGeneration | None = None, template: str = TEMPLATE) -> Language:
    """The byte-level one with a chat template; it ends with <|end|>."""
    ends = {"eos_token_id": 1}
    home = write_language(folder, byte_level(), chat_template_jinja=template, generation_config_json=ends)
    return open_language(config(generation), home, "1")
