"""What the OpenAPI page suggests, right and wrong, by schemathesis: `python -m tests.hostile.fuzz [CASES]`.

No answer may be a 5xx, and each must be one that the page documents: status, content type, headers and body.
"""

import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis import checks
from schemathesis.core.failures import Failure, FailureGroup

from tests.e2e.processes import Server
from tests.hostile.scene import attacked, wrong
from tests.hostile.send import Wire

CASES = 2000
_SEED = 11
_WAIT = 30.0
_NAMES = ("identity", "echo", "tiny_onnx", "")
"""Models that are asked for in turn; "": one that schemathesis makes up."""
_CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


@dataclass(slots=True)
class Found:
    """`statuses`: how often each was answered. `faults`: what was wrong, each once for an operation."""

    statuses: "Counter[int]" = field(default_factory=Counter)
    faults: dict[str, str] = field(default_factory=dict)

    @property
    def sent(self) -> int:
        return self.statuses.total()


def fuzz(server: Server, least: int) -> Found:
    """Sends at least so many requests, to all operations in turn; the same ones for the same page."""
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{server.port}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    found, turn = Found(), 0
    while found.sent < least:
        each = 1 + (least - found.sent) // len(operations)
        for operation in operations:
            _ask(operation, each, _SEED + turn, found)
        turn += 1
    return found


def _ask(operation: Any, count: int, seed: int, found: Found) -> None:
    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=[*HealthCheck]
    )
    @hypothesis.given(case=_cases(operation))
    def ask(case: Any) -> None:
        name = _NAMES[found.sent % len(_NAMES)]
        if name and "model" in case.path_parameters and not case.path.endswith("load"):
            case.path_parameters["model"] = name
        answer = case.call(timeout=_WAIT)
        found.statuses[answer.status_code] += 1
        try:
            case.validate_response(answer, checks=_CHECKS)
        except (Failure, FailureGroup) as fault:
            found.faults.setdefault(f"{operation.label} {answer.status_code}", str(fault))

    ask()


def _cases(operation: Any) -> Any:
    right = operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE)
    wrong_ones = operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)
    return right | wrong_ones if operation.body or operation.headers or operation.query else right


def main(least: int) -> int:
    """Prints the outcome; gives the exit status."""
    with tempfile.TemporaryDirectory() as folder, attacked(Path(folder)) as server:
        found = fuzz(server, least)
        wire = Wire.to(server)
        ill = wrong(wire, 1)
        wire.close()
    print(*(f"{where}: {fault}\n" for where, fault in found.faults.items()), sep="\n")
    answers = ", ".join(f"{count} x {status}" for status, count in sorted(found.statuses.items()))
    print(f"{found.sent} cases: {answers}; {len(found.faults)} kinds of faults; then a good request: {ill or 'right'}")
    return int(bool(found.faults or ill))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else CASES))
