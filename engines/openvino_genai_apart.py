"""The backend openvino_genai: its engine in a process of its own, since its steps hold Python's lock (2026.4)."""

from engines.apart import ApartGenerator
from engines.base import EngineOptions
from engines.openvino_genai_request import check_request


def open_generator(options: EngineOptions) -> ApartGenerator:
    """Opens the model in `options.folder`; raises as `engines.openvino_genai.open_generator`."""
    import openvino_genai  # noqa: F401 (so that a missing package is told as such)

    return ApartGenerator(options, "engines.openvino_genai", check_request)
