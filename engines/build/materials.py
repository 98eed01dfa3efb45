"""What the models of one family are made from together: the fp32 graph and the embeddings of texts, each made once."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engines.build.corpora import Corpus
from engines.build.embedding import embed
from engines.build.encoder_folder import TOKENIZER, EncoderFolder, window_of
from engines.build.manifest import Origin, describe, digest_of, origin, read_manifest, write_manifest
from engines.build.progress import Show
from engines.build.template import config_text, packing_of
from engines.build.variants import ENGINES, Variant
from engines.build.writers import needs
from engines.encoder_source import EncoderSource
from engines.model_config import Packing
from engines.model_manifest import sha256_of
from engines.repository import CONFIG_FILE
from engines.tensor import Array
from engines.text import Tokenizer

if TYPE_CHECKING:
    from engines.build.calibration import Samples

CACHE = ".build"
REFERENCE = "reference"
VERSION = "1"
SAMPLES = 300
_ROWS, _LEAST_WIDTH = 8, 64
_SEED = 11


class FamilyMaterials:
    """Kept in `<repository>/.build/<family>/<digest of the source>`; what an earlier source left there goes.

    `calibration`: the corpus that samples are chosen from. Hold the repository's lock.
    """

    def __init__(
        self, family: str, source: EncoderFolder, inputs: Mapping[str, str], repository: Path, calibration: Corpus
    ) -> None:
        self.source = source
        self._calibration = calibration
        self._origin: Origin = origin(inputs, Variant(ENGINES["onnxruntime"], "fp32"), {})
        home = repository / CACHE / family
        self._folder = home / digest_of(repr(self._origin))[:16]
        for old in home.glob("*"):
            if old != self._folder:
                shutil.rmtree(old, ignore_errors=True)

    @cached_property
    def encoder(self) -> EncoderSource:
        return self.source.read()

    @cached_property
    def window(self) -> int:
        """The most tokens of one text."""
        return window_of(self.source, len(self.encoder.positions))

    @cached_property
    def packing(self) -> Packing:
        return packing_of(self.window)

    def reference(self, show: Show) -> Path:
        """The folder of the fp32 ONNX model, as in a repository; made unless it is there, whole and unchanged."""
        model = self._folder / REFERENCE
        known = read_manifest(model / VERSION)
        if known is not None and _is_whole(model / VERSION, known["artefacts"]):
            return model
        with _scratch(self._folder) as scratch:
            (scratch / VERSION).mkdir()
            with needs("onnx", "build"):
                from engines.build.packed_encoder import write_packed_encoder

                write_packed_encoder(
                    self.source.root,
                    scratch / VERSION / "model.onnx",
                    progress=lambda done, total: show("write the graph", done, total),
                )
            shutil.copyfile(self.source.tokenizer, scratch / TOKENIZER)
            variant = Variant(ENGINES["onnxruntime"], "fp32")
            config = config_text(REFERENCE, variant, self.encoder.hidden, self.window)
            (scratch / CONFIG_FILE).write_text(config, encoding="utf-8")
            write_manifest(scratch / VERSION, describe(scratch / VERSION, self._origin))
            shutil.rmtree(model, ignore_errors=True)
            os.replace(scratch, model)
        return model

    def graph(self, show: Show) -> Path:
        return self.reference(show) / VERSION / "model.onnx"

    def embeddings(self, texts: Sequence[str], show: Show) -> Array:
        """FP32 [texts, hidden], by the fp32 ONNX model."""
        reference = self.reference(show)
        path = self._folder / f"embeddings-{digest_of(*texts)[:16]}.npy"
        with suppress(OSError, ValueError):
            found: Array = np.load(path, allow_pickle=False)
            if found.shape == (len(texts), self.encoder.hidden):
                return found
        found = embed(texts, reference, show)
        with _scratch(self._folder) as scratch:
            np.save(scratch / path.name, found, allow_pickle=False)
            os.replace(scratch / path.name, path)
        return found

    def samples(self, show: Show) -> "Samples":
        """Of all lengths and from all over the embedding space."""
        from engines.build.calibration import select_samples

        texts = self._calibration.texts
        tokens = self.tokens(texts)
        chosen = select_samples([len(ids) for ids in tokens], self.embeddings(texts, show), SAMPLES, _SEED)
        return self._packed([tokens[i] for i in chosen])

    def samples_by_chance(self) -> "Samples":
        """As many as `samples`."""
        from engines.build.calibration import random_samples

        tokens = self.tokens(self._calibration.texts)
        return self._packed([tokens[i] for i in random_samples(len(tokens), SAMPLES, _SEED)])

    def _packed(self, tokens: Sequence[Array]) -> "Samples":
        from engines.build.calibration import packed_samples

        widths = self.packing.widths
        least = max(*(len(ids) for ids in tokens), min(_LEAST_WIDTH, widths[-1]))
        return packed_samples(tokens, next(width for width in widths if width >= least), _ROWS)

    def tokens(self, texts: Sequence[str]) -> list[Array]:
        """Token ids, cut at the window."""
        return [*Tokenizer.from_file(self.source.tokenizer, self.window, truncate=True).encode(texts)]

    def kept(self, name: str, make: Callable[[], list[float]]) -> list[float]:
        """The numbers that are kept as `name` for this corpus to calibrate with; made by `make` the first time."""
        path = self._folder / f"{name}-{self._calibration.sha256[:16]}.json"
        with suppress(OSError, ValueError):
            return [float(number) for number in json.loads(path.read_bytes())]
        made = make()
        with _scratch(self._folder) as scratch:
            (scratch / path.name).write_text(json.dumps(made), encoding="utf-8")
            os.replace(scratch / path.name, path)
        return made

    def tidy(self) -> None:
        """Removes the folders that hold nothing."""
        for folder in (self._folder, self._folder.parent, self._folder.parent.parent):
            with suppress(OSError):
                folder.rmdir()


@contextmanager
def _scratch(home: Path) -> Iterator[Path]:
    """A folder in `home`, which goes with all that is left in it."""
    home.mkdir(parents=True, exist_ok=True)
    path = home / "scratch"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _is_whole(folder: Path, artefacts: Mapping[str, Mapping[str, str]]) -> bool:
    try:
        return all(sha256_of(folder / name) == made["sha256"] for name, made in artefacts.items())
    except OSError:
        return False
