"""Metrics of a model's own. They are counted here, and the gateway is told of each as it is now."""

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from enum import IntEnum
from itertools import pairwise
from math import inf
from threading import Lock
from types import MappingProxyType
from typing import ClassVar

from engines.python_backend.inside.errors import TritonModelException, plain, text_of
from engines.python_backend.inside.parent import Parent
from engines.python_backend.messages import Measured
from engines.python_backend.messages import MetricKind as KindName

MOST_METRICS = 10_000
"""That one instance of a model may have."""

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")


class MetricKind(IntEnum):
    """Triton's kinds."""

    COUNTER = 0
    GAUGE = 1
    HISTOGRAM = 2


_KINDS: MappingProxyType[MetricKind, KindName] = MappingProxyType(
    {MetricKind.COUNTER: "counter", MetricKind.GAUGE: "gauge", MetricKind.HISTOGRAM: "histogram"}
)


class Registry:
    """All metrics of the process, by family and labels."""

    def __init__(self, parent: Parent) -> None:
        self._parent = parent
        self._lock = Lock()
        self._families: dict[str, MetricKind] = {}
        self._metrics: dict[tuple[str, frozenset[tuple[str, str]]], Measured] = {}

    def declare(self, name: str, kind: MetricKind) -> None:
        """Raises `TritonModelException` where `name` is no name, or that of another kind."""
        if not _NAME.fullmatch(name):
            raise TritonModelException(f"MetricFamily: {name!r} is no name; use letters, digits, _ and :")
        with self._lock:
            if self._families.setdefault(name, kind) is not kind:
                found = self._families[name].name
                raise TritonModelException(f"MetricFamily: {name!r} is a {found} already; use another name")

    def metric(self, new: Measured) -> Measured:
        """The metric of these labels, `new` where there was none; the gateway is told of it."""
        key = (new.family, frozenset(new.labels.items()))
        with self._lock:
            if key not in self._metrics and len(self._metrics) >= MOST_METRICS:
                raise TritonModelException(f"Metric: the model has {MOST_METRICS} already; use fewer labels")
            found = self._metrics.setdefault(key, new)
            self._parent.send(found)
            return found

    def add(self, metric: Measured, value: float) -> None:
        """Adds to the value."""
        with self._lock:
            metric.value += value
            self._parent.send(metric)

    def put(self, metric: Measured, value: float) -> None:
        """Replaces the value."""
        with self._lock:
            metric.value = value
            self._parent.send(metric)

    def count(self, metric: Measured, value: float) -> None:
        """Counts an observation."""
        with self._lock:
            metric.counts[bisect_left(metric.buckets, value)] += 1
            metric.value += value
            self._parent.send(metric)


class Metric:
    """One metric of a family; made by `MetricFamily.Metric`."""

    def __init__(self, registry: Registry, measured: Measured) -> None:
        self._registry = registry
        self._measured = registry.metric(measured)

    def increment(self, value: float) -> None:
        """Adds to a counter or gauge."""
        self._refuse("increment", MetricKind.HISTOGRAM)
        if value < 0 and self._measured.kind == "counter":
            raise TritonModelException("Failed to increment metric value: a COUNTER never decreases; use a GAUGE")
        self._registry.add(self._measured, float(value))

    def set(self, value: float) -> None:
        """Replaces the value of a gauge."""
        self._refuse("set", MetricKind.COUNTER, MetricKind.HISTOGRAM)
        self._registry.put(self._measured, float(value))

    def observe(self, value: float) -> None:
        """Counts an observation into a histogram."""
        self._refuse("observe", MetricKind.COUNTER, MetricKind.GAUGE)
        self._registry.count(self._measured, float(value))

    def value(self) -> float:
        """The value of a counter or gauge, as this process counts it."""
        self._refuse("get", MetricKind.HISTOGRAM)
        return self._measured.value

    def _refuse(self, what: str, *kinds: MetricKind) -> None:
        for kind in kinds:
            if self._measured.kind == _KINDS[kind]:
                raise TritonModelException(f"Failed to {what} metric value: a {kind.name} does not support it")


class MetricFamily:
    """Metrics of one name and kind, which differ in their labels."""

    COUNTER: ClassVar = MetricKind.COUNTER
    GAUGE: ClassVar = MetricKind.GAUGE
    HISTOGRAM: ClassVar = MetricKind.HISTOGRAM
    registry: ClassVar[Registry]

    def __init__(self, name: str, description: str, kind: int) -> None:
        self._name = text_of(name, "the name of a MetricFamily")
        self._description = text_of(description, "the description of a MetricFamily")
        self._kind = MetricKind(kind)
        self.registry.declare(self._name, self._kind)

    def Metric(self, labels: Mapping[str, str] | None = None, buckets: Sequence[float] | None = None) -> Metric:
        """The metric with these labels; a histogram has `buckets`, upper bounds that ascend."""
        found = {}
        for key, value in (labels or {}).items():
            if not isinstance(key, str) or not isinstance(value, str) or not _LABEL.fullmatch(key):
                raise TritonModelException(f"Metric: {key!r}: {value!r} is no label; use a name and a string")
            found[key] = plain(value)
        bounds = [float(bound) for bound in buckets or ()]
        if bool(bounds) != (self._kind is MetricKind.HISTOGRAM):
            raise TritonModelException("Metric: a HISTOGRAM needs buckets, and no other kind takes them")
        if bounds and "le" in found:
            raise TritonModelException("Metric: the label 'le' names the buckets of a HISTOGRAM; use another name")
        if not all(lower < upper for lower, upper in pairwise((-inf, *bounds))):
            raise TritonModelException(f"Metric: the buckets {bounds} do not ascend")
        bounds = [bound for bound in bounds if bound < inf]  # which every histogram has
        counts = [0] * (len(bounds) + 1) if self._kind is MetricKind.HISTOGRAM else []
        kind = _KINDS[self._kind]
        return Metric(self.registry, Measured(self._name, self._description, kind, found, 0.0, bounds, counts))
