"""`python -m tests.conformance.perf URL_HTTP URL_GRPC`: Triton's perf_analyzer against the model `simple`, over both.

It is the one in tritonclient 2.50.0, unpacked into `.cache/triton`, with the two libraries it needs taken from the
server's wheel there. The addresses are host:port.
"""

import argparse
import csv
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from tests.triton.install import NotAvailableError, install, unpack_wheel

_CLIENT = "tritonclient==2.50.0"
_LIBRARIES = {"libb64.so.0d": "libb64-*.so.0d", "libcudart.so.12": "libcudart-*.so.12*"}
"""What the program wants, and how the server's wheel calls it."""
_FLAGS = {
    "--measurement-interval": "500",
    "--max-trials": "5",
    "--percentile": "99",
    "--stability-percentage": "999",
}
"""Windows of 500 ms, as few as it takes, three; how far they may differ is left open, as machines are shared."""
_SECONDS = 60
Protocol = Literal["http", "grpc"]


class PerfError(Exception):
    """perf_analyzer failed; the text is what it said."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Inferences a second, and client latencies in milliseconds."""

    throughput: float
    p50: float
    p99: float


def measure(url: str, protocol: Protocol, concurrency: int = 4, model: str = "simple") -> Figures:
    """Asks `model` from `concurrency` callers for a few seconds; raises `NotAvailableError` and `PerfError`."""
    program, libraries = _program()
    environment = os.environ | {"LD_LIBRARY_PATH": f"{libraries}:{os.environ.get('LD_LIBRARY_PATH', '')}"}
    flags = _FLAGS | {"-m": model, "-u": url, "-i": protocol, "--concurrency-range": str(concurrency)}
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        command = [str(program), "-f", str(table), *(word for flag in flags.items() for word in flag)]
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise PerfError(f"perf_analyzer {protocol} {url}: not done within {_SECONDS} s") from error
        rows = list(csv.DictReader(table.read_text().splitlines())) if table.exists() else []
        if len(rows) != 1:
            raise PerfError(f"perf_analyzer {protocol} {url}: {(done.stdout + done.stderr).strip()}")
        return _figures(rows[0])


def _program() -> tuple[Path, Path]:
    installed = install()
    unpacked = unpack_wheel(_CLIENT, "client-2.50.0")
    libraries = unpacked / "libraries"
    libraries.mkdir(exist_ok=True)
    for name, pattern in _LIBRARIES.items():
        link = libraries / name
        if not link.exists():
            link.symlink_to(next(installed.libraries.glob(pattern)))
    return unpacked / "tritonclient-2.50.0.data" / "data" / "bin" / "perf_analyzer", libraries


def _figures(row: Mapping[str, str]) -> Figures:
    p50, p99 = (float(row[f"{name} latency"]) / 1000 for name in ("p50", "p99"))
    return Figures(float(row["Inferences/Second"]), p50, p99)


def main() -> None:
    """Prints one line a protocol; exit code 1 where one could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.perf", description=__doc__)
    parser.add_argument("http", metavar="URL_HTTP", help="host:port")
    parser.add_argument("grpc", metavar="URL_GRPC", help="host:port")
    parser.add_argument("--concurrency", type=int, default=4, metavar="N", help="[4]")
    parser.add_argument("--model", default="simple", metavar="NAME", help="[simple]")
    known = parser.parse_args()
    try:
        for protocol in get_args(Protocol):
            found = measure(getattr(known, protocol), protocol, known.concurrency, known.model)
            print(
                f"{protocol}: {found.throughput:,.0f} inferences/s, p50 {found.p50:.2f} ms, p99 {found.p99:.2f} ms",
                flush=True,
            )
    except (NotAvailableError, PerfError) as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
