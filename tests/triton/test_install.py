"""Installing from an index of our own: what is fetched once, and what is said where nothing can be."""

import zipfile
from pathlib import Path

import pytest

from tests.triton import install
from tests.triton.install import NotAvailableError, unpack_wheel


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is pip's only source; the cache is another."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setattr(install, "CACHE", tmp_path / "cache")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_a_wheel_is_unpacked_once_and_its_programs_can_be_run(wheels: Path) -> None:
    wheel = wheels / "tool-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tool-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tool\nVersion: 1.0\n")
        archive.writestr("tool-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tool-1.0.dist-info/RECORD", "")
        program = zipfile.ZipInfo("tool/run")
        program.external_attr = 0o755 << 16
        archive.writestr(program, "#!/bin/sh\n")
    said: list[str] = []
    folder = unpack_wheel("tool==1.0", "tool", said.append)
    assert folder.joinpath("tool", "run").stat().st_mode & 0o111 == 0o111
    wheel.unlink()
    assert unpack_wheel("tool==1.0", "tool", said.append) == folder
    assert len(said) == 1


def test_a_wheel_that_cannot_be_had_is_named_and_nothing_is_left(wheels: Path) -> None:
    with pytest.raises(NotAvailableError, match=r"pip cannot get tool==1.0: .*No matching distribution"):
        unpack_wheel("tool==1.0", "tool", str)
    assert not wheels.with_name("cache").joinpath("tool").exists()


def test_a_python_without_its_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sysconfig.get_config_var", lambda name: "/no/such/folder")
    with pytest.raises(NotAvailableError, match=r"needs the shared library of Python 3\.\d+"):
        install.library_folder()
