"""A model's configuration in Triton's JSON, as callers send it: read and checked like config.pbtxt."""

from pathlib import Path

from google.protobuf import json_format, text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig as ModelConfigProto

from engines.config.pbtxt import parse
from engines.config.problems import one_line
from engines.errors import ModelLoadError
from engines.model_config import ModelConfig


def parse_json(text: str, *, source: str, folder: Path, known: ModelConfig | None = None) -> ModelConfig:
    """The configuration in `text` of the model in `folder`; `source` names it in errors.

    What a model file says of itself, and Triton would complete from it, may be left out where it is `known`: backend,
    inputs, outputs. Raises `ModelLoadError`, one line with every problem.
    """
    proto = ModelConfigProto()
    try:
        if not text.lstrip().startswith("{"):
            raise ValueError("it is no object")  # protobuf takes an empty list for an empty object
        json_format.Parse(text, proto)
        if known is not None:
            _complete(proto, known.proto)
        written = text_format.MessageToString(proto)
    except (json_format.ParseError, ValueError, RecursionError) as error:
        raise ModelLoadError(one_line(f"{source}: {error}; send the model configuration as JSON")) from None
    return parse(written, source=source, folder=folder)


def _complete(proto: ModelConfigProto, known: ModelConfigProto) -> None:
    if not proto.backend and not proto.platform:
        proto.backend, proto.platform = known.backend, known.platform
        proto.default_model_filename = proto.default_model_filename or known.default_model_filename
    if not proto.input:
        proto.input.extend(known.input)
    if not proto.output:
        proto.output.extend(known.output)
