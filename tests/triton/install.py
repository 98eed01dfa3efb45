"""Puts Triton 2.51 with its Python backend into `.cache/triton`; nothing of it enters the project's own environment."""

import fcntl
import platform
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

VERSION = "2.51.0"
CACHE = Path(__file__).parents[2] / ".cache" / "triton"
_SERVER = "nvidia-pytriton==0.7.0"
_NUMPY = "numpy==1.26.4"
"""The newest that the Python backend's stub was built for."""
_PYTHONS = ((3, 11), (3, 12))
_PIP_SECONDS = 300.0
Say = Callable[[str], object]


class NotAvailableError(Exception):
    """This machine cannot run the server; the text says why."""


@dataclass(frozen=True, slots=True)
class Installation:
    """`root`: the unpacked wheel. `environment`: the virtual environment that Python models run in."""

    root: Path
    environment: Path

    @property
    def server(self) -> Path:
        """The folder with the program, its backends and its caches."""
        return self.root / "pytriton" / "tritonserver"

    @property
    def libraries(self) -> Path:
        """The shared libraries that the wheel brings."""
        return self.root / "nvidia_pytriton.libs"

    @property
    def site_packages(self) -> Path:
        """What Python models may import."""
        return self.environment / "lib" / f"python{_python()}" / "site-packages"


def install(say: Say = print) -> Installation:
    """Downloads and unpacks what is missing, once; raises `NotAvailableError`."""
    _check_machine()
    folder = f"{VERSION}-python{_python()}"
    found = Installation(unpack_wheel(_SERVER, f"{folder}/server", say), CACHE / folder / "python")
    with _alone():
        _place_stub(found.server)
        if not found.site_packages.joinpath("numpy").exists():
            say(f"triton: installing {_NUMPY} for its Python models")
            _make_environment(found)
    return found


def unpack_wheel(requirement: str, name: str, say: Say = print) -> Path:
    """The folder `name` of the cache with a wheel's files, downloaded once; raises `NotAvailableError`."""
    folder = CACHE / name
    with _alone():
        if not folder.exists():
            say(f"triton: installing {requirement} into {folder} (once)")
            _unpack(requirement, folder)
    return folder


def library_folder() -> Path:
    """Where this Python's shared library is, which the stub links to; raises `NotAvailableError`."""
    name = str(sysconfig.get_config_var("INSTSONAME"))
    places = [Path(str(sysconfig.get_config_var("LIBDIR")))]
    places += [place / str(sysconfig.get_config_var("MULTIARCH")) for place in (*places, Path("/usr/lib"))]
    for place in places:
        if ".so" in name and (place / name).exists():
            return place
    raise NotAvailableError(
        f"Triton's Python backend needs the shared library of Python {_python()}, and {sys.base_prefix} has none; "
        f"install libpython{_python()}, or use a Python built with --enable-shared"
    )


def _check_machine() -> None:
    found = (platform.system(), platform.machine())
    if found != ("Linux", "x86_64"):
        raise NotAvailableError(f"Triton's wheel is for Linux on x86_64; this is {' on '.join(found)}")
    if sys.version_info[:2] not in _PYTHONS:
        wanted = " or ".join(f"{major}.{minor}" for major, minor in _PYTHONS)
        raise NotAvailableError(f"Triton's Python backend is set up for Python {wanted}; this is {_python()}")
    library_folder()


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


@contextmanager
def _alone() -> Iterator[None]:
    """Holds the cache: whoever installs at the same time waits, then finds it done."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _unpack(requirement: str, target: Path) -> None:
    """The folder takes its name last, so one that is there is whole."""
    wheels, new = target.with_name(f"{target.name}.wheel"), target.with_name(f"{target.name}.new")
    for left in (wheels, new):
        shutil.rmtree(left, ignore_errors=True)
    _pip(["download", "--no-deps", "--only-binary", ":all:", "--dest", str(wheels), requirement])
    with zipfile.ZipFile(next(wheels.glob("*.whl"))) as wheel:
        for item in wheel.infolist():
            Path(wheel.extract(item, new)).chmod(item.external_attr >> 16 & 0o777 or 0o755)
    shutil.rmtree(wheels)
    new.rename(target)


def _place_stub(server: Path) -> None:
    """The Python backend looks for the program that runs its models beside itself."""
    name = "triton_python_backend_stub"
    target = server / "backends" / "python" / name
    if not target.exists():
        new = shutil.copy(server / "python_backend_stubs" / _python() / name, f"{target}.new")
        Path(new).rename(target)


def _make_environment(found: Installation) -> None:
    shutil.rmtree(found.environment, ignore_errors=True)
    venv.create(found.environment, with_pip=False)
    _pip(["install", "--no-deps", "--only-binary", ":all:", "--target", str(found.site_packages), _NUMPY])


def _pip(arguments: Sequence[str]) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--retries", "1", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise NotAvailableError(f"pip took longer than {_PIP_SECONDS:.0f} s for {arguments[-1]}") from error
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr.strip()]
        raise NotAvailableError(f"pip cannot get {arguments[-1]}: {errors[-1]}")
