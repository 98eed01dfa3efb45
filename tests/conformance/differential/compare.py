"""Two servers' answers to one request, side by side."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.conformance.differential.differences import Aspect
from tests.conformance.differential.exchange import Seen

_TIMES = ("ns", "last_inference")
_NOTHING = "(nothing)"


@dataclass(frozen=True, slots=True)
class Finding:
    """Where the answers to an exchange differ, and how. `path`: of the value in the body."""

    name: str
    aspect: Aspect
    theirs: str
    ours: str
    path: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.aspect} {self.path}\n  Triton: {self.theirs}\n  here:   {self.ours}"


def compare(name: str, theirs: Seen, ours: Seen) -> Iterator[Finding]:
    """All that differs: the status, the text of an error or each value of an answer, the order of its outputs."""
    if theirs.status != ours.status:
        yield Finding(name, "status", theirs.status, ours.status)
    first, second = _whole(theirs), _whole(ours)
    left, right = dict(_leaves(first)), dict(_leaves(second))
    odd = [path for path in {**left, **right} if left.get(path) != right.get(path)]
    if odd and (_fails(theirs) or _fails(ours)):
        yield Finding(name, "text", _shown(first), _shown(second))
    elif odd:
        yield from (Finding(name, "body", left.get(path, _NOTHING), right.get(path, _NOTHING), path) for path in odd)
    elif json.dumps(first) != json.dumps(second) and _outputs(first) != _outputs(second):
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


def _leaves(body: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Each value, as JSON, by its path; what is in a list and has a name is found by that."""
    if isinstance(body, dict) and body:
        for key, value in body.items():
            yield from _leaves(value, f"{path}/{key}")
    elif isinstance(body, list | tuple) and body:
        for number, item in enumerate(body):
            named = f"{item['name']}:{item.get('version', '')}" if isinstance(item, dict) and "name" in item else number
            yield from _leaves(item, f"{path}/{named}")
    else:
        yield path, json.dumps(body)


def _outputs(whole: Any) -> list[str]:
    body = whole[0]
    return [output["name"] for output in body.get("outputs", ())] if isinstance(body, dict) else []


def _shown(body: Any) -> str:
    text = json.dumps(body, ensure_ascii=False)
    return text if len(text) <= 1000 else text[:1000] + " ..."
