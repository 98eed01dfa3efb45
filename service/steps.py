"""Ensembles and the models of their steps: what to open first, what would call itself, what nothing needs any more."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from engines.repository import ModelEntry
from service.catalog import Catalog, Model


def step_names(model: ModelEntry | Model) -> list[str]:
    """The models and routes that an ensemble asks; none for any other model."""
    return [step.model_name for step in model.config.ensemble] if model.config else []


def steps_first(entries: Sequence[ModelEntry]) -> list[ModelEntry]:
    """Ensembles behind the models of their steps, so that these are known when an ensemble is opened."""
    ordered: list[ModelEntry] = []
    left = list(entries)
    while left:
        waiting = {entry.name for entry in left}
        ready = [entry for entry in left if waiting.isdisjoint(step_names(entry))] or left
        ordered += ready
        left = [entry for entry in left if entry not in ready]
    return ordered


def dependents_of(name: str, models: Mapping[str, Model], named: Collection[str]) -> list[str]:
    """The models of this ensemble's steps, and of theirs, that no other open model has as a step, and that nobody
    `named` to be loaded: what Triton unloads with it."""
    leaving = [name]
    for gone in leaving:
        for step in step_names(models[gone]) if gone in models else ():
            others = [model for other, model in models.items() if model.versions and other not in leaving]
            needed = any(step in step_names(model) for model in others)
            if not needed and step not in named and step not in leaving and step in models:
                leaving.append(step)
    return leaving[1:]


def in_a_loop(models: Iterable[ModelEntry | Model], catalog: Catalog) -> dict[str, str]:
    """Ensembles that would call themselves, with the reason why they are not opened."""
    steps = {model.name: step_names(model) for model in models if model.config}
    calls = {**{route.name: list(route.variants) for route in catalog.routes.values()}, **steps}
    return {name: f"ensemble {name!r} calls itself through its steps" for name in steps if _reaches(name, name, calls)}


def _reaches(start: str, goal: str, calls: Mapping[str, Sequence[str]]) -> bool:
    seen: set[str] = set()
    left = list(calls.get(start, ()))
    while left:
        name = left.pop()
        if name == goal:
            return True
        if name not in seen:
            seen.add(name)
            left += calls.get(name, ())
    return False
