"""Python models of the folder `models`, opened in processes of their own."""

import shutil
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path

import pytest

from engines import complete_config, open_call_engine
from engines.base import EngineOptions
from engines.calls import Ask, ask_nobody
from engines.config.pbtxt import parse
from engines.python_backend.engine import PythonEngine
from tests.engines.python_backend.configs import CONFIGS

MODELS = Path(__file__).parent / "models"


def write_model(folder: Path, name: str, parameters: Mapping[str, str]) -> Path:
    """A model's folder: its configuration, and the file of `models`."""
    written = (
        f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}' for key, value in parameters.items()
    )
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text("\n".join([CONFIGS[name], *written]))
    shutil.copy(MODELS / f"{name}.py", folder / "1" / "model.py")
    return folder


class Opener:
    """Opens models; each in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folders = (folder / str(number) for number in count())
        self.opened: list[PythonEngine] = []

    def prepare(self, name: str, **parameters: str) -> EngineOptions:
        """The options of a model; keywords are its parameters, with two underscores for a dot."""
        given = {key.replace("__", "."): value for key, value in parameters.items()}
        folder = write_model(next(self._folders) / name, name, given)
        text = (folder / "config.pbtxt").read_text()
        return EngineOptions(parse(text, source="config.pbtxt", folder=folder), folder / "1")

    def open(self, options: EngineOptions) -> PythonEngine:
        """Opens what was prepared."""
        engine = open_call_engine(options)
        assert isinstance(engine, PythonEngine)
        self.opened.append(engine)
        return engine

    def start(self, name: str, ask: Ask = ask_nobody, **parameters: str) -> PythonEngine:
        """Prepares, completes and opens a model."""
        options = self.prepare(name, **parameters)
        config = complete_config(options.config, options.folder)
        return self.open(EngineOptions(config, options.folder, ask=ask))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opener]:
    """Closes what it opened when the tests of a file are over."""
    opener = Opener(tmp_path_factory.mktemp("models"))
    yield opener
    for engine in opener.opened:
        engine.close()
