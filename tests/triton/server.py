"""One running Triton: free ports of loopback, a repository, flags, a log, and an end."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.triton.install import Installation, install, library_folder

HOST = "127.0.0.1"
_START, _STOP, _POLL = 60.0, 10.0, 0.05
_SHARED_MEMORY = Path("/dev/shm")


class StartError(Exception):
    """The server ended, or was not ready in time; the text ends with its log."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a server listens."""

    http: int
    grpc: int
    metrics: int


def free_ports() -> Ports:
    """Three ports that nobody listens on now."""
    sockets = [socket.create_server((HOST, 0)) for _ in range(3)]
    ports = Ports(*(each.getsockname()[1] for each in sockets))
    for each in sockets:
        each.close()
    return ports


class TritonServer:
    """A real Triton, ready once it is made; a context manager that stops it.

    `process` is for signals; a server that was killed is started again on its `ports` by making another one.
    """

    def __init__(self, repository: Path, *flags: str, ports: Ports | None = None, seconds: float = _START) -> None:
        """Serves `repository` with Triton's own `flags`; raises `NotAvailableError`, and `StartError` where it is not
        ready within `seconds`.
        """
        self.ports = ports or free_ports()
        self.folder = Path(tempfile.mkdtemp(prefix="triton-"))
        self.log = self.folder / "log.txt"
        found = install()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self._command(found, repository, flags),
                cwd=self.folder,
                env=_environment(found),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait(seconds)
        except BaseException:
            self.stop()
            raise

    @property
    def http(self) -> str:
        """`host:port` of HTTP."""
        return f"{HOST}:{self.ports.http}"

    @property
    def grpc(self) -> str:
        """`host:port` of gRPC."""
        return f"{HOST}:{self.ports.grpc}"

    @property
    def metrics(self) -> str:
        """`host:port` of `/metrics`."""
        return f"{HOST}:{self.ports.metrics}"

    def stop(self) -> None:
        """Ends the server and the processes of its models, however they stand."""
        self.process.terminate()
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.wait(_STOP)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        for left in _SHARED_MEMORY.glob(f"{self.folder.name}*"):
            left.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _command(self, found: Installation, repository: Path, flags: tuple[str, ...]) -> list[str]:
        settings = {
            "model-repository": repository.absolute(),
            "backend-directory": found.server / "backends",
            "cache-directory": found.server / "caches",
            "backend-config": f"python,shm-region-prefix-name={self.folder.name}",
            "http-address": HOST,
            "grpc-address": HOST,
            "metrics-address": HOST,
            "http-port": self.ports.http,
            "grpc-port": self.ports.grpc,
            "metrics-port": self.ports.metrics,
            "allow-gpu-metrics": "false",
        }
        server = found.server / "bin" / "tritonserver"
        return [str(server), *(f"--{name}={value}" for name, value in settings.items()), *flags]

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not _is_ready(self.http):
            if self.process.poll() is not None:
                raise StartError(f"Triton ended with code {self.process.returncode}:\n{self._tail()}")
            if time.monotonic() > end:
                raise StartError(f"Triton was not ready within {seconds:.0f} s:\n{self._tail()}")
            time.sleep(_POLL)

    def _tail(self) -> str:
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-40:])


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{url}/v2/health/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _environment(found: Installation) -> dict[str, str]:
    """The models' Python is found by PATH; its packages are those of the environment alone."""
    dropped = ("PYTHON", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    libraries = [str(found.libraries), str(library_folder()), os.environ.get("LD_LIBRARY_PATH", "")]
    return kept | {
        "PATH": f"{found.environment / 'bin'}:{os.environ.get('PATH', '')}",
        "LD_LIBRARY_PATH": ":".join(filter(None, libraries)),
    }
