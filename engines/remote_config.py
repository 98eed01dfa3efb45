"""Makes one configuration of a model: ours, completed and checked by that of the server that runs it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig as ModelConfigProto
from tritonclient.grpc.model_config_pb2 import ModelInput, ModelOutput

from engines.config.pbtxt import parse
from engines.config.problems import enum_name
from engines.errors import ModelLoadError
from engines.model_config import ModelConfig

_Shape = tuple[str, list[int]]
_FIELDS = ("name", "data_type", "dims", "optional")
"""What is taken of a tensor; the rest, such as its reshape or its label file, is the business of that server."""


def complete(config: ModelConfig, remote: ModelConfigProto, folder: Path) -> ModelConfig:
    """Our configuration, with the tensors, the batch size and the transaction policy of the remote's where ours has
    none. Raises `ModelLoadError` where they contradict each other. `folder`: of our model."""
    proto = ModelConfigProto()
    proto.CopyFrom(config.proto)
    said = bool(proto.input or proto.output)
    if not said:
        proto.max_batch_size = proto.max_batch_size or remote.max_batch_size
    batched = 1 if proto.max_batch_size and not remote.max_batch_size else 0
    if not proto.input:
        _copy(proto.input, remote.input, batched)
    if not proto.output:
        _copy(proto.output, remote.output, batched)
    proto.model_transaction_policy.decoupled |= remote.model_transaction_policy.decoupled
    _check(config.name, proto, remote)
    text = text_format.MessageToString(proto)
    return parse(text, source=f"model {config.name!r}, with what its server says", folder=folder)


def _copy(target: Any, tensors: Sequence[ModelInput | ModelOutput], leading: int) -> None:
    """`leading`: dimensions that are left out, that of the batch where only we know of it."""
    for tensor in tensors:
        copied = target.add()
        copied.CopyFrom(tensor)
        del copied.dims[:leading]
        for field, _ in tensor.ListFields():
            if field.name not in _FIELDS:
                copied.ClearField(field.name)


def check_same(config: ModelConfig, remote: ModelConfigProto) -> None:
    """Raises `ModelLoadError` where a server's model is not the one that `config`, a complete one, describes."""
    _check(config.name, config.proto, remote)


def says_all(remote: ModelConfigProto) -> bool:
    """Is it a whole configuration? Else it was made of what a server's metadata say."""
    return bool(remote.backend or remote.platform)


def _check(name: str, ours: ModelConfigProto, remote: ModelConfigProto) -> None:
    if remote.max_batch_size and ours.max_batch_size > remote.max_batch_size:
        raise ModelLoadError(
            f"model {name!r}: max_batch_size is {ours.max_batch_size}, its server takes at most "
            f"{remote.max_batch_size}; lower it"
        )
    mine, theirs = (config.model_transaction_policy.decoupled for config in (ours, remote))
    if mine != theirs and (theirs or says_all(remote)):
        raise ModelLoadError(
            f"model {name!r}: decoupled is {mine}, its server's is {theirs}; correct it, or load it anew"
        )
    optional = [tensor.name for tensor in remote.input if tensor.optional]
    for kind, declared, found_there in (("input", ours.input, remote.input), ("output", ours.output, remote.output)):
        found = {tensor.name: _shape(tensor, remote) for tensor in found_there}
        for tensor in declared:
            _compare(name, f"{kind} {tensor.name!r}", _shape(tensor, ours), found.pop(tensor.name, None), list(found))
        needed = [name for name in found if kind == "input" and name not in optional]
        if needed:
            raise ModelLoadError(f"model {name!r}: its server also takes {kind} {needed[0]!r}; declare it, or none")


def _compare(name: str, tensor: str, ours: _Shape, remote: _Shape | None, others: Sequence[str]) -> None:
    if remote is None:
        raise ModelLoadError(
            f"model {name!r}: its server has no {tensor}, but {', '.join(map(repr, others)) or 'no other'}; correct it"
        )
    same = len(ours[1]) == len(remote[1]) and all(
        -1 in (a, b) or a == b for a, b in zip(ours[1], remote[1], strict=True)
    )
    if not same or ours[0] != remote[0]:
        raise ModelLoadError(
            f"model {name!r}: {tensor} is {_words(ours)}, its server's is {_words(remote)}; correct it, or leave it out"
        )


def _shape(tensor: ModelInput | ModelOutput, config: ModelConfigProto) -> _Shape:
    """Data type and dimensions, that of the batch included."""
    batch = [-1] if config.max_batch_size else []
    return enum_name(tensor, "data_type"), [*batch, *tensor.dims]


def _words(shape: _Shape) -> str:
    return f"{shape[0]} {shape[1]} (-1 is any size)" if -1 in shape[1] else f"{shape[0]} {shape[1]}"
