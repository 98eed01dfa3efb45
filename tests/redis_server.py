"""A real Redis of one's own, for tests: on a free port, in its own folder, stopped by its process."""

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import BusyLoadingError, ConnectionError

BINARY = "redis-server"
_STARTS, _PAUSE = 20.0, 0.02
"""Seconds."""


@dataclass(slots=True)
class RedisServer:
    """A running `redis-server`. It keeps nothing on disk: started again, it is empty. `options`: as in redis.conf."""

    port: int
    folder: Path
    options: Mapping[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Starts it, on the same port as before, and waits until it answers."""
        self.begin()
        give_up = time.monotonic() + _STARTS
        with self.client() as client:
            while True:
                try:
                    client.ping()
                    return
                except (ConnectionError, BusyLoadingError):
                    if time.monotonic() > give_up:
                        raise
                    time.sleep(_PAUSE)

    def begin(self) -> None:
        """Starts it."""
        settings = {"port": self.port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": self.folder}
        words = [word for name, value in {**settings, **self.options}.items() for word in (f"--{name}", str(value))]
        self.process = subprocess.Popen([BINARY, *words], stdout=subprocess.DEVNULL)

    def client(self, **options: str) -> Redis:
        """A client for tests."""
        return Redis("127.0.0.1", self.port, **options)  # type: ignore[arg-type]

    def kill(self) -> None:
        """Ends it at once, whatever it does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def shut_down(self) -> None:
        """Tells it to end, as an operator does."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait()

    def stop(self) -> None:
        """It hangs: its connections stay open, nothing is answered."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """It hangs no more."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def redis_process(**options: str) -> Iterator[RedisServer]:
    """A Redis until the end of the block; skips the test where there is none to start."""
    if shutil.which(BINARY) is None:
        pytest.skip(f"{BINARY} is not there: apt-get install redis-server")
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(_free_port(), Path(folder), options)
        try:
            server.start()
            yield server
        finally:
            server.kill()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])
