"""A llama.cpp server over a GGUF file, for comparison: `python -m benchmarks.llama_cpp FILE STREAMS TOKENS`."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

MISSING = "xllamacpp is not installed (pip install xllamacpp)"
NAME = "llama"
"""Of the model, for those who ask."""


def is_available() -> bool:
    """Is llama.cpp installed?"""
    return find_spec("xllamacpp") is not None


@contextmanager
def running(weights: Path, streams: int, tokens: int = 512) -> Iterator[str]:
    """The URL of a server of its own process, for as long as it is needed: idle, it would still take the cores.

    `tokens`: the window of each of the `streams`.
    """
    command = [sys.executable, "-m", __name__, str(weights), str(streams), str(tokens)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:  # noqa: S603
        try:
            yield next(line.split()[1] for line in process.stdout or () if line.startswith("ready: "))
        finally:
            process.kill()


def main() -> None:
    """Serves until it is killed."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = sys.argv[1]
    parameters.n_parallel = int(sys.argv[2])
    parameters.n_ctx = int(sys.argv[3]) * parameters.n_parallel
    parameters.model_alias = {NAME}
    parameters.port = 0
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 2
    server = xllamacpp.Server(parameters)
    print(f"ready: {server.listening_address}", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
