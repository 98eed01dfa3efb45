"""One face for NVIDIA's two SDKs: TensorRT (`tensorrt`) and TensorRT for RTX (`tensorrt_rtx_bindings`).

Their names are the same; what they can do is not. A plan runs on the SDK, and mostly the version, that built it.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from engines.errors import MissingBackendError, ModelLoadError

SDKS = ("tensorrt", "tensorrt_rtx_bindings")
"""Import names, the first that is installed is taken."""

_REMEDY = "pip install 'batchyard[tensorrt]' (data centre GPUs) or 'batchyard[tensorrt-rtx]' (RTX GPUs)"
_KEPT = 8


@dataclass(frozen=True, slots=True)
class TensorRt:
    """An SDK that is installed. `package`: its import name."""

    package: str
    module: ModuleType

    @property
    def version(self) -> str:
        return str(self.module.__version__)

    @property
    def tunes(self) -> bool:
        """Does building time kernels on the GPU? Then it needs one, and a timing cache saves most of its work.

        The RTX builder times nothing: its kernels are compiled on the user's GPU, when the plan is opened. It knows
        timing caches by name only, and then asks for a GPU.
        """
        return not self.captures

    @property
    def captures(self) -> bool:
        """Does the SDK itself capture and replay CUDA graphs?"""
        return hasattr(getattr(self.module, "IRuntimeConfig", None), "cuda_graph_strategy")  # 10.1 has no such class


def load_tensorrt(wanted: str = "", sdks: Sequence[str] = SDKS) -> TensorRt:
    """The SDK of import name `wanted`, else the first of `sdks` that is installed.

    Raises `MissingBackendError` where there is none, `ModelLoadError` where one is there and cannot be imported.
    """
    for package in (wanted,) if wanted else sdks:
        try:
            return TensorRt(package, import_module(package))
        except ModuleNotFoundError as error:
            if error.name != package:
                raise ModelLoadError(f"{package} cannot be imported: {error}") from error
        except (ImportError, OSError) as error:  # OSError: a library of the package is not there
            raise ModelLoadError(f"{package} cannot be imported: {' '.join(str(error).split())}") from error
    names = wanted or " or ".join(sdks)
    raise MissingBackendError(f"backend 'tensorrt' needs the {names} package: {_REMEDY}")


class Complaints:
    """What an SDK logs as errors: its calls answer None or False, and say why in the log alone."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_KEPT)

    def add(self, text: str) -> None:
        self._lines.append(" ".join(text.split()))

    def take(self) -> str:
        """All of them in one line, "; " between, and forgets them."""
        lines = list(dict.fromkeys(self._lines))
        self._lines.clear()
        return "; ".join(lines) or "it says no more"


def logger(sdk: TensorRt, complaints: Complaints) -> Any:
    """The SDK's logger, which puts errors into `complaints` and drops all else. Keep it as long as what uses it."""
    base = sdk.module.ILogger
    grave = (base.Severity.INTERNAL_ERROR, base.Severity.ERROR)

    class Logger(base):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            base.__init__(self)

        def log(self, severity: object, message: str) -> None:
            if severity in grave:
                complaints.add(message)

    return Logger()


def strongly_typed(sdk: TensorRt) -> int:
    """Creation flags of a network that keeps to the graph's types: one must ask in 10, 11 and RTX know no other."""
    return 1 << int(sdk.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
