"""What a Python model is started with."""

import json
import os

from engines.base import EngineOptions
from engines.config.shown import to_json
from engines.repository import model_file

FILE = "model.py"


def code_of(options: EngineOptions) -> str:
    """The file of the model's code; raises `ModelLoadError` where there is none."""
    return str(model_file(options.config, options.folder, FILE).absolute())


def instance_of(options: EngineOptions) -> str:
    """The instance's name."""
    config = options.config
    group = f"{config.name}_0" if config.proto.instance_group else config.name
    return options.instance or f"{group}_0"


def arguments_of(options: EngineOptions) -> dict[str, str]:
    """`args` of the model's `initialize`, as in Triton."""
    device = options.device.rpartition(":")[2]
    return {
        "model_config": json.dumps(to_json(options.config), separators=(",", ":")),
        "model_instance_kind": "GPU" if device.isdecimal() else "CPU",
        "model_instance_name": instance_of(options),
        "model_instance_device_id": device if device.isdecimal() else "0",
        "model_repository": str(options.folder.absolute().parent),
        "model_version": options.folder.name,
        "model_name": options.config.name,
    }


def environment_of(options: EngineOptions) -> dict[str, str]:
    """The variables of the model's process: ours, and a bound of the threads that numpy and its like compute with."""
    return {"OMP_NUM_THREADS": str(options.threads), **os.environ}
