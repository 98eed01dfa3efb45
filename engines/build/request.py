"""What `batchyard build` is asked for, and the models that this means."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.build.errors import WrongRequestError
from engines.build.placed import PLACED
from engines.build.variants import SHIPPED, Variant, choose_variants, split_name
from engines.repository import CONFIG_FILE

SHIPPED_FAMILY = "minilm"

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Request:
    """The arguments of the command.

    `names`: families (minilm) or models (minilm_onnx_int8), () for what is shipped. `source`: the folder of an encoder,
    None for the shipped one. `engines`, `precisions`: of the families, () for the usual ones. `calibration`, `check`:
    files of texts. `max_drop`: in points, see `Quality.drop`.
    """

    names: Sequence[str] = ()
    source: Path | None = None
    engines: Sequence[str] = ()
    precisions: Sequence[str] = ()
    calibration: Path | None = None
    check: Path | None = None
    max_drop: float | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """A model to build: its name in the repository, its family's, and how it runs."""

    name: str
    family: str
    variant: Variant


def targets_of(request: Request, repository: Path) -> tuple[list[Target], list[str]]:
    """The models to build, in the order asked for, and the names that are there and have nothing to build.

    Raises `WrongRequestError` for names, engines and precisions that are unknown or do not go together.
    """
    chosen = choose_variants(request.engines, request.precisions)
    asked = bool(request.engines or request.precisions)
    if request.source is not None:
        return [target for name in _own(request) for target in _targets(name, chosen, asked)], []
    shipped = chosen if asked else list(SHIPPED)
    targets: list[Target] = []
    others = []
    for name in request.names or (SHIPPED_FAMILY,):
        if name in PLACED:
            continue
        if SHIPPED_FAMILY in (name, split_name(name)[0]):
            targets += _targets(name, shipped, asked)
        else:
            _check_nothing_to_build(name, repository)
            others.append(name)
    return list(dict.fromkeys(targets)), others


def placed_of(request: Request) -> Sequence[str]:
    """The models asked for that are files to be put in place: by name, or all of them where nothing is named."""
    if request.source is not None:
        return []
    if request.names or request.engines or request.precisions:
        return [name for name in request.names if name in PLACED]
    return list(PLACED)


def _own(request: Request) -> Sequence[str]:
    """The names that an encoder of the user's own gets; raises `WrongRequestError` where one cannot be."""
    if not request.names:
        raise WrongRequestError("--from wants a name for the encoder: batchyard build NAME --from DIR")
    families = {split_name(name)[0] for name in request.names}
    if len(families) > 1:
        raise WrongRequestError(f"--from is one encoder, found names of {len(families)}: {', '.join(sorted(families))}")
    (family,) = families
    if not NAME.fullmatch(family):
        raise WrongRequestError(f"name {family!r}: use letters, digits, '_', '-' and '.', a letter or digit first")
    if family == SHIPPED_FAMILY:
        raise WrongRequestError(f"name {family!r} is that of the shipped models; choose another name")
    return request.names


def _targets(name: str, family_variants: Sequence[Variant], asked: bool) -> list[Target]:
    family, variant = split_name(name)
    if variant is None:
        return [Target(f"{name}_{one.suffix}", name, one) for one in family_variants]
    if asked:
        raise WrongRequestError(
            f"{name!r} names an engine and a precision already; leave out --engines and --precision"
        )
    return [Target(name, family, variant)]


def _check_nothing_to_build(name: str, repository: Path) -> None:
    family, variant = split_name(name)
    if not (repository / name / CONFIG_FILE).is_file():
        raise WrongRequestError(
            f"unknown model {name!r}; shipped is {SHIPPED_FAMILY}, as "
            f"{', '.join(f'{SHIPPED_FAMILY}_{one.suffix}' for one in SHIPPED)} and more: batchyard build --help"
            " (your own encoder: batchyard build NAME --from DIR)"
        )
    if variant is not None:
        raise WrongRequestError(f"{name!r} was made from an encoder of yours: batchyard build {family} --from DIR")
