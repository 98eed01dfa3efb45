"""A repository to be filled."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., None]:
    """Writes a model into `tmp_path`: its name, its config.pbtxt, its versions (none named: 1)."""

    def _write(name: str, config: str, *versions: str) -> None:
        for version in versions or ("1",):
            (tmp_path / name / version).mkdir(parents=True)
        (tmp_path / name / "config.pbtxt").write_text(config)

    return _write
