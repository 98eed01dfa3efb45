"""What the care taken over int8 is worth: against plain int8, layer by layer, and against texts chosen by chance."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.build.encoder_folder import TOKENIZER, EncoderFolder
from engines.build.gate import Gate
from engines.build.manifest import digest_of
from engines.build.materials import FamilyMaterials
from engines.build.measure import first_fit
from engines.build.progress import Show
from engines.build.variants import Variant
from engines.model_config import Packing
from engines.repository import CONFIG_FILE

if TYPE_CHECKING:
    from engines.build.calibration import Samples

VERSION = "1"
_WIDTH = 64


@dataclass(frozen=True, slots=True)
class _ByChance:
    """The materials of a family, but for the choice of samples."""

    materials: FamilyMaterials

    @property
    def source(self) -> EncoderFolder:
        return self.materials.source

    @property
    def packing(self) -> Packing:
        return self.materials.packing

    def graph(self, show: Show) -> Path:
        return self.materials.graph(show)

    def samples(self, show: Show) -> "Samples":
        show("choose samples", 0, 1)
        return self.materials.samples_by_chance()


def against_chance(
    variant: Variant, materials: FamilyMaterials, gate: Gate, model: Path, scratch: Path, show: Show
) -> dict[str, Any]:
    """The figures of a model made in `scratch` as the one in the folder `model`, but of samples chosen by chance."""
    twin = scratch / model.name
    made = twin / VERSION
    made.mkdir(parents=True)
    for name in (TOKENIZER, CONFIG_FILE):
        shutil.copyfile(model / name, twin / name)
    variant.engine.write(_ByChance(materials), made, variant.precision, show)
    found = gate.quality(twin, show)
    shutil.rmtree(twin)
    return {"cosine_mean": found.cosine_mean, "cosine_min": found.cosine_min}


def layer_errors(
    variant: Variant, materials: FamilyMaterials, model: Path, texts: Sequence[str], show: Show
) -> dict[str, list[float]]:
    """The error after each layer on `texts`: `before` compensation, of plain int8, and `after` it, of `model`."""
    from engines.build import layers

    tokens = materials.tokens(texts)
    layout = first_fit([len(ids) for ids in tokens], materials.packing, _WIDTH)
    batch = layout.collate([{"input_ids": ids} for ids in tokens]).inputs
    graph = materials.graph(show)
    show("compare the layers", 0, 2)
    key = f"plain-{digest_of(*texts)[:16]}"
    before = materials.kept(key, lambda: layers.plain_errors(graph, materials.samples(show), batch))
    show("compare the layers", 1, 2)
    return {"before": before, "after": layers.layer_errors(graph, model / VERSION / variant.engine.artefact, batch)}
