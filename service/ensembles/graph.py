"""The steps of an ensemble as a graph: what each waits for, and what the answers of decoupled models lead to."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from engines.errors import ModelLoadError
from engines.model_config import EnsembleStep, ModelConfig
from engines.tensor import Array
from service.ensembles.agreement import check_agreement, fits
from service.types import Offer


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One step. `level`: decoupled steps before it; it runs once for each answer of the last of them.

    `batched`: its model has a batch dimension. `sources`: the ensemble's tensors that it takes. `dims`: as the model
    wants them, of those inputs that come from where it is otherwise with the batch dimension.
    """

    number: int
    step: EnsembleStep
    level: int
    decoupled: bool
    batched: bool
    sources: frozenset[str]
    dims: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """`nodes`: in an order they can run in. `takers`, `makers`: of a tensor of the ensemble. `depth`: decoupled steps
    on the way to the outputs. `dims`: of outputs that come from where it is otherwise with the batch dimension.
    """

    nodes: tuple[Node, ...]
    takers: Mapping[str, tuple[Node, ...]]
    makers: Mapping[str, Node]
    depth: int
    dims: Mapping[str, tuple[int, ...]]

    def needed(self, outputs: Collection[str]) -> Collection[Node]:
        """The nodes that these outputs of the ensemble come from."""
        found: set[Node] = set()
        left = [self.makers[name] for name in outputs if name in self.makers]
        while left:
            node = left.pop()
            if node not in found:
                found.add(node)
                left += [self.makers[name] for name in node.sources if name in self.makers]
        return [node for node in self.nodes if node in found]


def graph_of(config: ModelConfig, offers: Sequence[Offer | None]) -> Graph:
    """The graph of an ensemble whose steps' models take and give `offers` (None: not known yet).

    Raises `ModelLoadError` where models that are known do not fit together.
    """
    check_agreement(config, offers)
    levels = {spec.name: 0 for spec in config.inputs}
    batched = {spec.name: config.max_batch_size > 0 for spec in config.inputs}
    nodes: list[Node] = []
    for step, offer in zip(config.ensemble, offers, strict=True):
        node = _node(config, len(nodes), step, offer, levels, batched)
        made_at = 1 + max(levels.values()) if node.decoupled else node.level
        levels.update(dict.fromkeys(step.output_map.values(), made_at))
        batched.update(dict.fromkeys(step.output_map.values(), node.batched))
        nodes.append(node)
    depth = max(levels.values())
    if any(levels[spec.name] != depth for spec in config.outputs):
        raise _apart(config, "the outputs come")
    dims = {spec.name: spec.shape for spec in config.outputs if batched[spec.name] != (config.max_batch_size > 0)}
    makers = {tensor: node for node in nodes for tensor in node.step.output_map.values()}
    takers = {tensor: tuple(node for node in nodes if tensor in node.sources) for tensor in levels}
    return Graph(tuple(nodes), takers, makers, depth, dims)


def _node(
    config: ModelConfig,
    number: int,
    step: EnsembleStep,
    offer: Offer | None,
    levels: Mapping[str, int],
    batched: Mapping[str, bool],
) -> Node:
    sources = frozenset(step.input_map.values())
    found = {levels[tensor] for tensor in sources}
    if len(found) > 1:
        raise _apart(config, f"the inputs of step {step.model_name!r} come")
    batches = (offer.signature.max_batch_size if offer else config.max_batch_size) > 0
    shapes = {spec.name: spec.shape for spec in offer.signature.inputs} if offer else {}
    dims = {name: shapes[name] for name, tensor in step.input_map.items() if offer and batched[tensor] != batches}
    decoupled = offer is not None and offer.decoupled
    return Node(number, step, found.pop(), decoupled, batches, sources, dims)


def _apart(config: ModelConfig, what: str) -> ModelLoadError:
    return ModelLoadError(
        f"ensemble {config.name!r}: {what} from different decoupled models, whose answers cannot be told to belong "
        "together; lead all through the same decoupled step"
    )


def rebatched(array: Array, dims: tuple[int, ...], batches: bool) -> Array:
    """A tensor on its way between a model with a batch dimension and one without: that dimension is put on or taken
    off where the tensor does not fit `dims` as it is. `batches`: does what it goes to have a batch dimension?"""
    if fits(array.shape, dims) == batches:
        return array[np.newaxis] if batches else array[0] if len(array) == 1 else array
    return array
