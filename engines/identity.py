"""The test engine: gives its inputs back, after a delay, or fails on purpose.

Output i is input i, in the order of config.pbtxt. Parameters, all optional, each named `batchyard.identity.<name>`:

- `delay_ms`, `delay_ms_per_row`: milliseconds a batch takes.
- `fail_on_value`: a row whose first element is this value makes the whole batch raise `ExecutionError`.
- `nan_on_value`: such a row is answered with NaN (floating-point outputs).
- `wrong_rows_on_value`: such a batch is answered with its last row missing.
- `crash_on_value`: such a batch raises `RuntimeError`, which no engine may: it tests what the caller does then.
- `memory_on_value`: such a batch raises `EngineMemoryError`.
- `memory_above_rows`: a batch of more rows raises `EngineMemoryError`, as a device does that is too small for it.
- `exit_on_value`: such a batch ends the process at once. Only with `batchyard.isolation: process`.
- `hang_on_value`: such a batch never ends. Only with `batchyard.isolation: process`.

The first element is that of the first input.
"""

import math
import os
import time
from collections.abc import Callable, Mapping
from threading import Event
from typing import NoReturn

import numpy as np

from engines.base import EngineOptions, Outputs
from engines.batch import Batch
from engines.errors import EngineError, EngineMemoryError, ExecutionError, ModelLoadError
from engines.inputs import check_inputs
from engines.model_config import ModelConfig
from engines.own_parameters import own_parameters
from engines.tensor import BYTES, Array, DataType

Sleep = Callable[[float], None]
"""Waits for so many seconds."""

_PREFIX = "batchyard.identity."
_DELAYS = ("delay_ms", "delay_ms_per_row")
_MOST_ROWS = "memory_above_rows"
_LETHAL = ("exit_on_value", "hang_on_value")
"""Faults that would take the gateway along."""
_FAULTS = ("fail_on_value", "nan_on_value", "wrong_rows_on_value", "crash_on_value", "memory_on_value", *_LETHAL)

EXIT_CODE = 70
"""Of a process that `exit_on_value` ended: "internal software error" in BSD's sysexits.h."""


def open_engine(options: EngineOptions) -> "IdentityEngine":
    """Opens the identity engine; raises `ModelLoadError` where outputs do not mirror inputs."""
    return IdentityEngine(options.config)


class IdentityEngine:
    """Answers with its inputs. `sleep` waits out the delay."""

    def __init__(self, config: ModelConfig, sleep: Sleep = time.sleep) -> None:
        self.signature = config.signature
        self._check_mirror(config.name)
        settings = own_parameters(config, _PREFIX, (*_DELAYS, _MOST_ROWS, *_FAULTS))
        _check_isolated(config, settings)
        delays = [_number(config.name, key, settings.get(key, "0")) / 1000 for key in _DELAYS]
        self._delay, self._delay_per_row = delays
        self._most_rows = _number(config.name, _MOST_ROWS, settings[_MOST_ROWS]) if _MOST_ROWS in settings else math.inf
        self._faults = {
            key: _typed(config.name, key, settings[key], config.inputs[0].datatype)
            for key in _FAULTS
            if key in settings
        }
        self._pairs = [(i.name, o.name) for i, o in zip(config.inputs, config.outputs, strict=False)]
        self._sleep = sleep
        self._closed = False

    def warm_up(self) -> None:
        """Nothing to warm: there is nothing to compile."""

    def run(self, batch: Batch) -> Outputs:
        """The inputs under the names of the outputs, shapes and dtypes unchanged."""
        if self._closed:
            raise EngineError("the engine is closed")
        check_inputs(batch, self.signature)
        seconds = self._delay + self._delay_per_row * batch.size
        if seconds > 0:
            self._sleep(seconds)
        if batch.size > self._most_rows:
            raise EngineMemoryError(f"{batch.size} rows, of which this model was told to hold {self._most_rows:g}")
        outputs = {output: batch.inputs[name] for name, output in self._pairs}
        return self._with_faults(batch, outputs) if self._faults else outputs

    def close(self) -> None:
        """Refuses further batches."""
        self._closed = True

    def _with_faults(self, batch: Batch, outputs: dict[str, Array]) -> dict[str, Array]:
        array = batch.inputs[self.signature.inputs[0].name]
        firsts = array.reshape(batch.size, -1)[:, :1]
        for fault, value in self._faults.items():
            hit = (firsts == value).any(axis=1)
            if not hit.any():
                continue
            match fault:
                case "wrong_rows_on_value":
                    outputs = {name: output[:-1] for name, output in outputs.items()}
                case "nan_on_value":
                    outputs = {name: _with_nan(output, hit) for name, output in outputs.items()}
                case _:
                    _strike(fault, f"row {int(hit.argmax())} holds {value!r}, on which this model was told to")
        return outputs

    def _check_mirror(self, model: str) -> None:
        inputs, outputs = self.signature.inputs, self.signature.outputs
        if len(outputs) > len(inputs):
            raise ModelLoadError(
                f"model {model!r}: identity gives back its inputs, so {len(inputs)} inputs cannot make {len(outputs)} "
                "outputs; remove outputs"
            )
        for source, target in zip(inputs, outputs, strict=False):
            if source.ragged or source.optional:
                raise ModelLoadError(
                    f"model {model!r}: identity takes no ragged or optional input like {source.name!r}"
                )
            if (source.datatype, source.shape) != (target.datatype, target.shape):
                raise ModelLoadError(
                    f"model {model!r}: output {target.name!r}, {target.datatype} {list(target.shape)}, gives back "
                    f"input {source.name!r}, {source.datatype} {list(source.shape)}; declare both alike"
                )


def _check_isolated(config: ModelConfig, settings: Mapping[str, str]) -> None:
    for key in _LETHAL:
        if key in settings and config.isolation != "process":
            raise ModelLoadError(
                f"model {config.name!r}: parameter {_PREFIX + key!r} would end or stop the whole gateway; run the "
                "model in a process of its own: parameter batchyard.isolation, value process"
            )


def _strike(fault: str, told: str) -> NoReturn:
    match fault:
        case "fail_on_value":
            raise ExecutionError(f"{told} fail")
        case "crash_on_value":
            raise RuntimeError(f"{told} crash")
        case "memory_on_value":
            raise EngineMemoryError(f"{told} run out of memory")
        case "exit_on_value":
            os._exit(EXIT_CODE)
    while True:  # hang_on_value
        Event().wait()


def _number(model: str, key: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise ModelLoadError(f"model {model!r}: parameter {_PREFIX + key!r} is {text!r}, wanted a number from 0")
    return number


def _typed(model: str, key: str, text: str, datatype: DataType) -> object:
    if datatype is BYTES:
        return text.encode()
    try:
        return datatype.numpy.type(float(text))
    except (ValueError, OverflowError):
        raise ModelLoadError(
            f"model {model!r}: parameter {_PREFIX + key!r} is {text!r}, wanted a value of {datatype}"
        ) from None


def _with_nan(output: Array, rows: Array) -> Array:
    if not np.issubdtype(output.dtype, np.floating):
        return output
    spoiled = output.copy()
    spoiled[rows] = np.nan
    return spoiled
