"""Load from wrk, which takes far less of the shared cores than any client in Python."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("cycle.lua")
MISSING = "wrk is not installed (apt-get install wrk)"


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of wrk saw. Times in milliseconds."""

    per_second: float
    mean_ms: float
    p50_ms: float
    p99_ms: float
    errors: int


def is_available() -> bool:
    """Is wrk on the PATH?"""
    return shutil.which("wrk") is not None


def write_bodies(bodies: Sequence[bytes], path: Path) -> None:
    """Writes request bodies, one a line, for `run` to cycle through."""
    path.write_bytes(b"\n".join(bodies))


def run(url: str, bodies: Path, connections: int, seconds: int, prefix: Sequence[str] = ()) -> Load:
    """Keeps `connections` requests under way for `seconds`. `prefix`: a command to run wrk under."""
    command = [*prefix, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(SCRIPT), url, "--", str(bodies)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")
    return Load(**json.loads(done.stdout.splitlines()[-1]))
