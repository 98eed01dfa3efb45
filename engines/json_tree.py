"""What a JSON schema says, as a small tree: only what an answer can be held to while it is generated."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from engines.json_pattern import Pattern


@dataclass(frozen=True, slots=True)
class AnyValue:
    """Any JSON value."""


@dataclass(frozen=True, slots=True)
class Literals:
    """One of these JSON texts."""

    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """A string of `least` to `most` characters, or one that `pattern` describes from end to end."""

    least: int = 0
    most: int | None = None
    pattern: Pattern | None = None


@dataclass(frozen=True, slots=True)
class Number:
    """A number; `pattern` describes how it is written."""

    pattern: Pattern


@dataclass(frozen=True, slots=True)
class Items:
    """An array of `least` to `most` items."""

    item: "Node"
    least: int = 0
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Property:
    """A property of an object."""

    name: str
    value: "Node"
    required: bool


@dataclass(frozen=True, slots=True)
class Members:
    """An object of `properties`, in their order; where `others` is given, of any names with such values instead."""

    properties: tuple[Property, ...] = ()
    others: "Node | None" = None


@dataclass(frozen=True, slots=True)
class Options:
    """One of several."""

    options: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Named:
    """What `Document.definitions` has under this name."""

    name: str


Node = AnyValue | Literals | Text | Number | Items | Members | Options | Named


@dataclass(frozen=True, slots=True)
class Document:
    """A whole schema; no definition leads back to itself.

    `names`: properties and listed values in all. `cost`: of what is counted, see `engines.json_pattern.cost`.
    """

    root: Node
    definitions: Mapping[str, Node] = field(default_factory=dict)
    names: int = 0
    cost: float = 0.0


ANY_OBJECT = Document(Members(others=AnyValue()))
EMPTY_OBJECT = Document(Members())
