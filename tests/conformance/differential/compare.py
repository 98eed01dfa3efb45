"""Two servers' answers to one request, side by side."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.conformance.differential.differences import Aspect
from tests.conformance.differential.exchange import Seen

_TIMES = ("ns", "last_inference")


@dataclass(frozen=True, slots=True)
class Finding:
    """Where the answers to an exchange differ, and how."""

    name: str
    aspect: Aspect
    theirs: str
    ours: str

    def __str__(self) -> str:
        return f"{self.name}: {self.aspect}\n  Triton: {self.theirs}\n  here:   {self.ours}"


def compare(name: str, theirs: Seen, ours: Seen) -> Iterator[Finding]:
    """All that differs: the status, the text of an error or the body of an answer, the order of its outputs."""
    if theirs.status != ours.status:
        yield Finding(name, "status", theirs.status, ours.status)
    first, second = _whole(theirs), _whole(ours)
    if _in_order(first) != _in_order(second):
        yield Finding(name, "text" if _fails(theirs) or _fails(ours) else "body", _shown(first), _shown(second))
    elif first != second:
        yield Finding(name, "order", _shown(first), _shown(second))


def _fails(seen: Seen) -> bool:
    return seen.status != "OK" and not seen.status.startswith("2")


def _whole(seen: Seen) -> Any:
    """The body with each output's bytes beside its name, without what no two runs have in common: times."""
    body, left = seen.body, seen.tail
    for output in body.get("outputs", ()) if isinstance(body, dict) else ():
        size = output.get("parameters", {}).get("binary_data_size", 0)
        if size:
            output["bytes"], left = left[:size].hex(), left[size:]
    return _settled(body), left.hex()


def _settled(body: Any) -> Any:
    if isinstance(body, list):
        return [_settled(item) for item in body]
    if not isinstance(body, dict):
        return body
    found = {key: _settled(value) for key, value in body.items() if key not in _TIMES}
    for output, raw in zip(found.get("outputs", ()), found.pop("raw_output_contents", ()), strict=False):
        output["bytes"] = raw
    return found


def _in_order(body: Any) -> Any:
    """The same whatever the order of outputs."""
    if isinstance(body, dict):
        found = {key: _in_order(value) for key, value in body.items()}
        if isinstance(found.get("outputs"), list):
            found["outputs"] = sorted(found["outputs"], key=lambda output: output["name"])
        return found
    return [_in_order(item) for item in body] if isinstance(body, list | tuple) else body


def _shown(body: Any) -> str:
    text = json.dumps(body, ensure_ascii=False)
    return text if len(text) <= 1000 else text[:1000] + " ..."
