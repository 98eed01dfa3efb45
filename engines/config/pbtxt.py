"""config.pbtxt, Triton's description of a model: read and checked completely."""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig as ModelConfigProto

from engines.config.ensemble import read_ensemble
from engines.config.fields import check_fields
from engines.config.generation import BACKENDS as GENERATORS
from engines.config.parameters import read_parameters
from engines.config.problems import Problems, one_line
from engines.config.reshapes import check_reshapes, read_reshapes
from engines.config.scheduling import (
    read_accelerators,
    read_dynamic_batching,
    read_instance_groups,
    read_version_policy,
)
from engines.config.sequences import check_sequence_model, read_sequence_batching
from engines.config.tensors import read_batch_inputs, read_batch_outputs, read_inputs, read_outputs
from engines.config.warmup import read_warmup
from engines.errors import ModelLoadError
from engines.model_config import ModelConfig
from engines.model_files import check_relative

_BACKENDS: Mapping[str, str] = {
    "ensemble": "ensemble",
    "onnxruntime_onnx": "onnxruntime",
    "pytorch_libtorch": "pytorch",
    "tensorrt_plan": "tensorrt",
}
"""Triton's older `platform` -> its `backend`."""

_PLATFORMS: Mapping[str, str] = {backend: platform for platform, backend in _BACKENDS.items()}
_UNKNOWN_FIELD = re.compile(r'Message type "([^"]+)" has no field named "([^"]+)"')


def parse(text: str, *, source: str, folder: Path) -> ModelConfig:
    """The configuration in `text`, the content of the file `source` of the model folder `folder`.

    Raises `ModelLoadError`, one line with every problem: the line of bad syntax; else field, value and remedy.
    """
    proto = _parse_syntax(text, source)
    problems = Problems(source)
    check_fields(proto, problems)
    config = _read(proto, folder, problems)
    check_sequence_model(config, problems)
    check_reshapes(config, problems)
    problems.raise_any()
    return config


def _parse_syntax(text: str, source: str) -> ModelConfigProto:
    proto = ModelConfigProto()
    try:
        text.encode()
        text_format.Parse(text, proto)
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise ModelLoadError(one_line(f"{source}:{line}: {text[error.start]} is half a character; remove it")) from None
    except text_format.ParseError as error:
        place = "" if error.GetLine() is None else f":{error.GetLine()}"
        said = str(error).removeprefix(f"{error.GetLine()}:{error.GetColumn()} : ").rstrip(".")
        raise ModelLoadError(one_line(f"{source}{place}: {said}; {_remedy(said)}")) from None
    except ValueError as error:  # protobuf's own checks, which know no line: an enum's number out of range
        raise ModelLoadError(one_line(f"{source}: {error}; correct that value")) from None
    return proto


def _remedy(said: str) -> str:
    """What to do about a syntax error of which protobuf said `said`."""
    unknown = _UNKNOWN_FIELD.search(said)
    if not unknown:
        return "correct it there"
    message, field = unknown.groups()
    known = list(ModelConfigProto.DESCRIPTOR.file.pool.FindMessageTypeByName(message).fields_by_name)
    return f"the nearest is {difflib.get_close_matches(field, known, n=1, cutoff=0.0)[0]}" if known else "remove it"


def _read(proto: ModelConfigProto, folder: Path, problems: Problems) -> ModelConfig:
    name = proto.name or folder.name
    if name != folder.name:
        problems.add("name", f"{name!r} is not the name of the folder, {folder.name!r}; use that, or leave it out")
    if proto.max_batch_size < 0:
        text = f"{proto.max_batch_size} is negative; use 0 for a model without a batch dimension"
        problems.add("max_batch_size", text)
    if proto.default_model_filename:
        try:
            check_relative(proto.default_model_filename)
        except ModelLoadError as error:
            problems.add("default_model_filename", str(error))
    backend = _backend(proto, problems)
    inputs = read_inputs(proto, problems)
    outputs = read_outputs(proto, folder, problems)
    settings = read_parameters(proto, folder, inputs, problems)
    return ModelConfig(
        name=name,
        backend=backend,
        platform=proto.platform or _PLATFORMS.get(backend, ""),
        max_batch_size=proto.max_batch_size,
        inputs=inputs,
        outputs=outputs,
        proto=proto,
        batch_inputs=read_batch_inputs(proto, inputs, problems),
        batch_outputs=read_batch_outputs(proto, inputs, outputs, problems),
        input_reshapes=read_reshapes("input", proto.input, proto, problems),
        output_reshapes=read_reshapes("output", proto.output, proto, problems),
        dynamic_batching=read_dynamic_batching(proto, problems),
        sequence_batching=read_sequence_batching(proto, folder, inputs, outputs, problems),
        instance_groups=read_instance_groups(proto, problems),
        version_policy=read_version_policy(proto, problems),
        accelerators=read_accelerators(proto, problems),
        warmup=read_warmup(proto, folder, inputs, problems),
        ensemble=read_ensemble(proto, name, inputs, outputs, problems),
        default_model_filename=proto.default_model_filename,
        parameters={key: proto.parameters[key].string_value for key in sorted(proto.parameters)},
        text=settings.text,
        packing=settings.packing,
        padding=settings.padding,
        generation=settings.generation,
        precision=settings.precision,
        threads=settings.threads,
        device=settings.device,
        fallback=settings.fallback,
        tolerance=settings.tolerance,
        isolation=settings.isolation,
        watchdog=settings.watchdog,
        finite=settings.finite,
        decoupled=_decoupled(proto, backend, problems),
        response_cache=_response_cache(proto, problems),
    )


def _backend(proto: ModelConfigProto, problems: Problems) -> str:
    known = _BACKENDS.get(proto.platform, "")
    is_ensemble = proto.HasField("ensemble_scheduling")
    if proto.platform and not known:
        problems.add("platform", f"{proto.platform!r} is not known; use backend, or one of {', '.join(_BACKENDS)}")
    elif known and proto.backend and proto.backend != known:
        problems.add("backend", f"{proto.backend!r} contradicts platform {proto.platform!r}; remove one of the two")
    backend = proto.backend or known or ("ensemble" if is_ensemble else "")
    if not backend and not proto.platform:
        problems.add("backend", 'is missing; name the engine, for example backend: "onnxruntime"')
    elif is_ensemble and backend != "ensemble":
        text = f'{backend!r} contradicts ensemble_scheduling; use platform: "ensemble"'
        problems.add("backend" if proto.backend else "platform", text)
    elif backend == "ensemble" and not is_ensemble:
        problems.add("ensemble_scheduling", "is missing; give the steps of the ensemble")
    return backend


def _decoupled(proto: ModelConfigProto, backend: str, problems: Problems) -> bool:
    decoupled: bool = proto.model_transaction_policy.decoupled
    able = ("python", "triton", "ensemble", *GENERATORS)
    if decoupled and backend not in able:
        text = f"true is not supported; it is for the backends {', '.join(able)}; use false"
        problems.add("model_transaction_policy.decoupled", text)
    return decoupled


def _response_cache(proto: ModelConfigProto, problems: Problems) -> bool:
    enabled: bool = proto.response_cache.enable
    if enabled and proto.model_transaction_policy.decoupled and proto.backend not in GENERATORS:
        problems.add("response_cache.enable", "true contradicts a decoupled model; use false")
    return enabled
