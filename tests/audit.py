"""Known vulnerabilities in what is installed, by pip-audit: `python -m tests.audit`. Ends with 1 where there are any.

Where the vulnerability service cannot be reached, or knows none of the packages, nothing was audited: it says so.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

_COMMAND = (sys.executable, "-m", "pip_audit", "--local", "--skip-editable", "--progress-spinner=off", "--format=json")
_OURS = "batchyard"
_SECONDS = 300
_UNREACHABLE = ("ConnectionError", "Could not connect", "timed out", "Max retries", "ServiceError", "resolution")


def verdict(output: str, errors: str) -> tuple[int, str]:
    """The exit status and what to say, from what pip-audit wrote; raises `ValueError` where that is not understood."""
    try:
        found: Sequence[Mapping[str, Any]] = json.loads(output)["dependencies"]
    except (ValueError, KeyError, TypeError):
        if any(word in errors for word in _UNREACHABLE):
            return 0, f"pip-audit: SKIPPED, the vulnerability service cannot be reached: {_last(errors)}"
        raise ValueError(f"pip-audit failed: {_last(errors)}") from None
    audited = [one for one in found if "vulns" in one]
    unknown = sorted(one["name"] for one in found if "vulns" not in one and one["name"] != _OURS)
    if not audited:
        return 0, f"pip-audit: SKIPPED, the vulnerability service knows none of the {len(found)} packages"
    bad = [f"{one['name']} {one['version']}: {_fault(fault)}" for one in audited for fault in one["vulns"]]
    told = f"pip-audit: {len(audited)} packages audited, {len(bad)} vulnerabilities"
    skipped = f"; not known to the service: {', '.join(unknown)}" if unknown else ""
    return int(bool(bad)), "\n".join([told + skipped, *bad])


def _fault(fault: Mapping[str, Any]) -> str:
    return f"{fault['id']}, mended in {', '.join(fault['fix_versions']) or 'no version'}"


def _last(errors: str) -> str:
    return (errors.strip().splitlines() or ["it said nothing"])[-1]


def main() -> int:
    """Prints the verdict; gives the exit status."""
    if find_spec("pip_audit") is None:
        print("pip-audit is not installed; install the extra batchyard[test]")
        return 1
    try:
        done = subprocess.run(_COMMAND, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        print(f"pip-audit: SKIPPED, the vulnerability service did not answer within {_SECONDS} s")
        return 0
    status, told = verdict(done.stdout, done.stderr)
    print(told)
    return status


if __name__ == "__main__":
    sys.exit(main())
