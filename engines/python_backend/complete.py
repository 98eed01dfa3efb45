"""`auto_complete_config`: what a Python model itself says of its configuration."""

import ast
import json
from pathlib import Path
from typing import Any

from google.protobuf import json_format, text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig as ModelConfigProto

from engines.apart_watchdog import OPENING_SECONDS
from engines.base import EngineOptions
from engines.config.pbtxt import parse
from engines.config.shown import to_json
from engines.errors import ModelLoadError
from engines.model_config import ModelConfig
from engines.model_files import read_text
from engines.python_backend.arguments import code_of, environment_of
from engines.python_backend.messages import Complete, Completed, Failed
from engines.python_backend.process import Listener, ModelProcess

_CHANGED = ("max_batch_size", "input", "output", "dynamic_batching", "model_transaction_policy")
"""The fields that a model may complete."""


def complete(config: ModelConfig, version_folder: Path) -> ModelConfig:
    """The configuration with what the model adds; raises `ModelLoadError` where it cannot, or where that is no good.

    Runs the model's code in a process of its own, if it has an `auto_complete_config`.
    """
    options = EngineOptions(config, version_folder)
    file = code_of(options)
    if not _completes(Path(file)):
        return config
    before = to_json(config)
    after = _ask(options, Complete(config.name, file, json.dumps(before)))
    proto = ModelConfigProto()
    proto.CopyFrom(config.proto)
    for field in _CHANGED:
        if field in after and after[field] != before.get(field):
            _replace(proto, field, after[field], config.name)
    source = f"auto_complete_config of model {config.name!r}"
    return parse(text_format.MessageToString(proto), source=source, folder=version_folder.parent)


def _completes(file: Path) -> bool:
    """May the code have an `auto_complete_config`? Where it is no plain class, only running it would tell."""
    try:
        tree = ast.parse(read_text(file))
    except (SyntaxError, ValueError):
        return False  # which opening it will tell of
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == "TritonPythonModel" and not node.bases:
            names = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
            return "auto_complete_config" in names
    return True


def _ask(options: EngineOptions, command: Complete) -> dict[str, Any]:
    name = options.config.name
    listener = Listener(lambda *_: None, lambda _: None)
    process = ModelProcess(f"{name}: auto_complete_config", environment_of(options), listener)
    try:
        reply, _ = process.ask(command, Completed, OPENING_SECONDS)
    finally:
        process.close()
    if isinstance(reply, Failed):
        raise ModelLoadError(f"model {name!r}: auto_complete_config: {reply.message}")
    completed: dict[str, Any] = json.loads(reply.config)
    return completed


def _replace(proto: ModelConfigProto, field: str, value: Any, name: str) -> None:
    proto.ClearField(field)
    try:
        json_format.ParseDict({field: value}, proto)
    except json_format.ParseError as error:
        raise ModelLoadError(f"model {name!r}: auto_complete_config set {field} wrongly: {error}") from None
