"""Imports OpenVINO so that it reports to nobody."""

import sys
from types import ModuleType


def import_openvino() -> ModuleType:
    """The `openvino` package, without its telemetry.

    Importing it otherwise sends an event to Google Analytics from a forked process unless the user has opted out.
    With `openvino_telemetry` made unimportable for this process, it uses its own stub, which sends nothing.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino  # type: ignore[no-any-return]
