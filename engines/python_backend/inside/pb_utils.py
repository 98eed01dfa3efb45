"""The module `triton_python_backend_utils`, as Python models import it."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from engines.apart_line import NO_TENSORS
from engines.python_backend.inside import datatypes
from engines.python_backend.inside.auto_complete import ModelConfig
from engines.python_backend.inside.errors import TritonError, TritonModelException, text_of
from engines.python_backend.inside.logger import Logger
from engines.python_backend.inside.metrics import MetricFamily, Registry
from engines.python_backend.inside.parent import Parent
from engines.python_backend.inside.questions import Answers
from engines.python_backend.inside.request import InferenceRequest
from engines.python_backend.inside.response import InferenceResponse
from engines.python_backend.inside.sender import FINAL, InferenceResponseSender
from engines.python_backend.inside.tensor import Tensor
from engines.python_backend.inside.values import InferenceTrace, MemoryType, PreferredMemory
from engines.python_backend.messages import END, START, AskedReady

NAME = "triton_python_backend_utils"


def pb_utils(parent: Parent, model_folder: Path) -> ModuleType:
    """The module; its requests, logger and metrics speak with `parent`."""
    module = ModuleType(NAME, "What a Python model works with.")
    module.__dict__.update(_constants())
    classes = (
        Tensor,
        TritonError,
        TritonModelException,
        InferenceResponse,
        InferenceResponseSender,
        InferenceTrace,
        ModelConfig,
        PreferredMemory,
        type("InferenceRequest", (InferenceRequest,), {"parent": parent}),
        type("Logger", (Logger,), {"parent": parent}),
        type("MetricFamily", (MetricFamily,), {"registry": Registry(parent)}),
    )
    functions = (
        datatypes.triton_to_numpy_type,
        datatypes.numpy_to_triton_type,
        datatypes.triton_string_to_numpy,
        datatypes.serialize_byte_tensor,
        datatypes.deserialize_bytes_tensor,
        get_input_tensor_by_name,
        get_output_tensor_by_name,
        get_input_config_by_name,
        get_output_config_by_name,
        using_decoupled_model_transaction_policy,
        load_model,
        unload_model,
    )
    module.__dict__.update({each.__name__: each for each in (*classes, *functions)})
    module.__dict__["get_model_dir"] = lambda: str(model_folder)
    module.__dict__["is_model_ready"] = partial(is_model_ready, parent)
    return module


def _constants() -> dict[str, Any]:
    return {
        "TRITON_STRING_TO_NUMPY": dict(datatypes.TRITON_STRING_TO_NUMPY),
        "TRITONSERVER_REQUEST_FLAG_SEQUENCE_START": START,
        "TRITONSERVER_REQUEST_FLAG_SEQUENCE_END": END,
        "TRITONSERVER_RESPONSE_COMPLETE_FINAL": FINAL,
        "TRITONSERVER_REQUEST_RELEASE_ALL": 1,
        "TRITONSERVER_REQUEST_RELEASE_RESCHEDULE": 2,
        "TRITONSERVER_MEMORY_GPU": MemoryType.TRITONSERVER_MEMORY_GPU,
        "TRITONSERVER_MEMORY_CPU": MemoryType.TRITONSERVER_MEMORY_CPU,
    }


def get_input_tensor_by_name(inference_request: InferenceRequest, name: str) -> Tensor | None:
    """The input of that name, None without one."""
    return next((each for each in inference_request.inputs() if each.name() == name), None)


def get_output_tensor_by_name(inference_response: InferenceResponse, name: str) -> Tensor | None:
    """The output of that name, None without one."""
    return next((each for each in inference_response.output_tensors() if each.name() == name), None)


def get_input_config_by_name(model_config: Mapping[str, Any], name: str) -> Any:
    """What the configuration, parsed JSON, says of an input; None where it has none of that name."""
    return next((each for each in model_config.get("input", ()) if each["name"] == name), None)


def get_output_config_by_name(model_config: Mapping[str, Any], name: str) -> Any:
    """What the configuration, parsed JSON, says of an output; None where it has none of that name."""
    return next((each for each in model_config.get("output", ()) if each["name"] == name), None)


def using_decoupled_model_transaction_policy(model_config: Mapping[str, Any]) -> bool:
    """Is the model of this configuration, parsed JSON, decoupled?"""
    return bool(model_config.get("model_transaction_policy", {}).get("decoupled", False))


def load_model(model_name: str, config: str = "", files: Mapping[str, bytes] | None = None) -> NoReturn:
    """Refused."""
    raise TritonModelException(_not_offered("load_model", "load the model through the server's repository control"))


def unload_model(model_name: str, unload_dependents: bool = False) -> NoReturn:
    """Refused."""
    raise TritonModelException(_not_offered("unload_model", "unload the model through the server's repository control"))


def is_model_ready(parent: Parent, model_name: str, model_version: str = "") -> bool:
    """Can the model answer now? `model_version` "" is the newest. False as well for one that is not there."""
    name, version = text_of(model_name, "model_name"), text_of(model_version, "model_version")
    response = Answers.to(parent, lambda key: AskedReady(key, name, version), NO_TENSORS).next()
    if error := response.error():
        raise TritonModelException(error.message())
    return bool(json.loads(response.parameters())["ready"])


def _not_offered(name: str, remedy: str) -> str:
    return f"pb_utils.{name} is not offered here; {remedy}"
