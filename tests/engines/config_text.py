"""Pieces of config.pbtxt for the tests, and a model folder that they are read in."""

from pathlib import Path

import pytest

from engines.config.pbtxt import parse
from engines.errors import ModelLoadError
from engines.model_config import ModelConfig

INPUT = 'input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]\n'
OUTPUT = 'output [ { name: "y" data_type: TYPE_FP32 dims: [ 2 ] } ]\n'
HEAD = 'backend: "identity"\nmax_batch_size: 8\n'
BASE = HEAD + INPUT + OUTPUT
SOURCE = "model_repository/m/config.pbtxt"


def model_folder(parent: Path) -> Path:
    """The folder of a model `m` with label, warm-up and tokenizer files, good and bad."""
    home = parent / "m"
    (home / "warmup").mkdir(parents=True)
    (home / "warmup" / "x.raw").write_bytes(bytes(16))
    (home / "labels.txt").write_text("cat\nhot dog\r\n")
    (home / "three.txt").write_text("a\nb\nc\n")
    (home / "latin.txt").write_bytes(b"caf\xe9\nb\n")
    (home / "tokenizer.json").write_text("{}")
    (parent / "outside.json").write_text("{}")
    (home / "link.json").symlink_to(parent / "outside.json")
    return home


def read(text: str, folder: Path) -> ModelConfig:
    return parse(text, source=SOURCE, folder=folder)


def refusal(text: str, folder: Path) -> str:
    """The message that refuses `text`: one line that names the file."""
    with pytest.raises(ModelLoadError) as caught:
        read(text, folder)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.startswith(SOURCE)
    return message


def step(model: str, source: str, target: str) -> str:
    """A step that runs `model` on tensor `source` and makes tensor `target`."""
    return (
        f'step {{ model_name: "{model}" input_map {{ key: "i" value: "{source}" }}'
        f' output_map {{ key: "o" value: "{target}" }} }}\n'
    )


def ensemble(*steps: str) -> str:
    return f'platform: "ensemble"\n{INPUT}{OUTPUT}ensemble_scheduling {{ {"".join(steps)} }}\n'


def parameters(**values: str) -> str:
    """Parameters by their names after `batchyard.`, dots as underscores twice."""
    return "".join(
        f'parameters {{ key: "batchyard.{key.replace("__", ".")}" value {{ string_value: "{value}" }} }}\n'
        for key, value in values.items()
    )
