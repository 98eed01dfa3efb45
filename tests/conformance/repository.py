"""`python -m tests.conformance.repository DIR`: writes the conformance models as a Triton model repository.

--kind onnx: an ONNX file where a model can be one, else a Python model. --kind python: Python models and ensembles,
which a Triton without an ONNX Runtime backend loads too.
"""

import argparse
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Literal, get_args

from tests.conformance.catalog import MODELS, Model

Kind = Literal["onnx", "python"]
_SOURCES = Path(__file__).with_name("models")
_CPU = "instance_group [ { kind: KIND_CPU } ]\n"


def write(folder: Path, kind: Kind = "onnx", names: Collection[str] = ()) -> None:
    """Writes the models of these names, all where none is given, into `folder`, each anew."""
    for model in MODELS:
        if not names or model.name in names:
            _write(folder / model.name, model, kind)


def _write(folder: Path, model: Model, kind: Kind) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    versions = [folder / version for version in model.versions]
    for version in versions:
        version.mkdir(parents=True)
    head = 'platform: "ensemble"\n'
    if model.graph and kind == "onnx":
        head = 'backend: "onnxruntime"\n' + _CPU
        for version in versions:
            version.joinpath("model.onnx").write_bytes(model.graph())
    elif model.source:
        head = 'backend: "python"\n' + _CPU
        for version in versions:
            shutil.copy(_SOURCES / f"{model.source}.py", version / "model.py")
    folder.joinpath("config.pbtxt").write_text(f'name: "{model.name}"\n{head}{model.config}', "utf-8")


def main() -> None:
    """Reads the command line and writes."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.repository", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="where to; made if it is not there")
    parser.add_argument("--kind", choices=get_args(Kind), default="onnx", help="[onnx]")
    known = parser.parse_args()
    write(known.folder, known.kind)
    print(f"{len(MODELS)} models in {known.folder}")


if __name__ == "__main__":
    main()
