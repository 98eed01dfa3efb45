"""What happens where the device that a model asks for is not there."""

import logging
from collections.abc import Callable
from typing import TypeVar

from engines.errors import MissingDeviceError
from engines.model_config import ModelConfig

T = TypeVar("T")

LOGGER = logging.getLogger("batchyard.engines")


def with_fallback(config: ModelConfig, wanted: Callable[[], T], instead: Callable[[], T]) -> T:
    """What `wanted` opens; where its device is missing and `batchyard.fallback` is set, what `instead` does.

    The second is told as a warning. Without a fallback `MissingDeviceError` goes on, with that remedy added.
    """
    try:
        return wanted()
    except MissingDeviceError as error:
        if not config.fallback:
            raise MissingDeviceError(f"{error}, or batchyard.fallback to CPU") from error
        LOGGER.warning("%s; it runs on the %s instead, its batchyard.fallback", error, config.fallback)
        return instead()
