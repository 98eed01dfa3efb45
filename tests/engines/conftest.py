"""A tiny encoder and an empty repository, for the tests that build models."""

from pathlib import Path

import pytest

from tests.engines.tiny_encoder import write_encoder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_encoder(tmp_path / "source")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return tmp_path / "models"
