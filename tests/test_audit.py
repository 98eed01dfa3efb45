"""What is made of pip-audit's words: findings fail, and an audit of nothing never passes for one."""

import json
from typing import Any

import pytest

from tests.audit import verdict

GOOD: dict[str, Any] = {"name": "numpy", "version": "2.0", "vulns": []}
BAD: dict[str, Any] = GOOD | {"vulns": [{"id": "GHSA-1", "fix_versions": ["2.1"]}]}
UNKNOWN: dict[str, Any] = {"name": "own", "skip_reason": "Dependency not found on PyPI"}


def said(*dependencies: dict[str, Any]) -> tuple[int, str]:
    return verdict(json.dumps({"dependencies": dependencies}), "")


def test_nothing_found() -> None:
    assert said(GOOD, UNKNOWN) == (
        0,
        "pip-audit: 1 packages audited, 0 vulnerabilities; not known to the service: own",
    )


def test_a_finding_fails() -> None:
    assert said(GOOD, BAD) == (
        1,
        "pip-audit: 2 packages audited, 1 vulnerabilities\nnumpy 2.0: GHSA-1, mended in 2.1",
    )


def test_a_service_that_knows_nothing_is_no_audit() -> None:
    assert said(UNKNOWN, UNKNOWN) == (0, "pip-audit: SKIPPED, the vulnerability service knows none of the 2 packages")


def test_no_network() -> None:
    status, told = verdict("", "Traceback\nrequests.exceptions.ConnectionError: no route to host")
    assert (status, told.startswith("pip-audit: SKIPPED, the vulnerability service cannot be reached")) == (0, True)


def test_a_fault_of_its_own_is_not_skipped() -> None:
    with pytest.raises(ValueError, match="pip-audit failed: ValueError: bug"):
        verdict("", "ValueError: bug")
