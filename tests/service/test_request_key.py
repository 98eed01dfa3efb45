"""Requests that differ in one field never share a key, nor in what would make no difference do they need two."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from engines.tensor import Array
from service.request_key import RequestKeys
from service.routing.rules import Rule
from service.routing.served import Served
from service.types import Hints, InferRequest, Tenant
from tests.service.cached import CachedSetting

RULES = (
    Rule("canary", frozenset({"a"}), headers={b"x-canary": b"yes"}),
    Rule("urgent", frozenset({"b"}), priority=1),
)
Change = Callable[[InferRequest], InferRequest]


def texts(*elements: bytes) -> Array:
    array = np.empty((len(elements), 1), object)
    array[:, 0] = elements
    return array


def base(model: str = "both") -> InferRequest:
    inputs = {"x": np.ones((2, 2), np.float32), "text": texts(b"ab", b"c")}
    return InferRequest(model, inputs, outputs=("y", "z"), parameters={"gate": 0.5, "top": 1}, hints=Hints({}))


def inputs(**changed: Array) -> Change:
    return lambda request: replace(request, inputs=request.inputs | changed)


def hints(**changed: object) -> Change:
    return lambda request: replace(request, hints=replace(request.hints, **changed))  # type: ignore[arg-type]


def parameters(**changed: object) -> Change:
    return lambda request: replace(request, parameters={**request.parameters, **changed})  # type: ignore[dict-item]


UNLIKE: dict[str, Change] = {
    "tenant": hints(tenant=Tenant("b")),
    "model": lambda request: replace(request, model="a"),
    "version": lambda request: replace(request, version="1"),
    "variant": hints(variant="a"),
    "least quality": hints(min_quality=0.5),
    "a header of the rules": hints(headers={b"x-canary": b"yes"}),
    "another value of it": hints(headers={b"x-canary": b"no"}),
    "a priority of the rules": lambda request: replace(request, priority=1),
    "a value": inputs(x=np.array([[1, 1], [1, 2]], np.float32)),
    "the sign of a zero": inputs(x=np.array([[1, 1], [1, -0.0]], np.float32)),
    "a shape": inputs(x=np.ones((4, 1), np.float32)),
    "a dtype": inputs(x=np.ones((2, 2), np.float32).view(np.int32)),
    "where elements are cut": inputs(text=texts(b"a", b"bc")),
    "an empty element": inputs(text=texts(b"abc", b"")),
    "the order of elements": inputs(text=texts(b"c", b"ab")),
    "one input more": inputs(more=np.ones(1, np.float32)),
    "the name of an input": lambda request: replace(
        request, inputs={"X": request.inputs["x"], "text": request.inputs["text"]}
    ),
    "a parameter": parameters(gate=0.25),
    "a parameter more": parameters(more=True),
    "the type of a parameter": parameters(top=True),
    "a number as text": parameters(top="1"),
    "outputs": lambda request: replace(request, outputs=("y",)),
    "all outputs": lambda request: replace(request, outputs=()),
    "names that run together": lambda request: replace(request, outputs=("yz",)),
}


@pytest.fixture
def keys() -> RequestKeys:
    return RequestKeys(CachedSetting("a", "b", rules=RULES).catalog)


@pytest.mark.parametrize("name", UNLIKE)
def test_requests_that_differ_in_one_field_share_no_key(keys: RequestKeys, name: str) -> None:
    assert keys.of(base()) != keys.of(UNLIKE[name](base()))


def test_no_two_of_them_share_one(keys: RequestKeys) -> None:
    found = [keys.of(base()), *(keys.of(change(base())) for change in UNLIKE.values())]
    assert len(set(found)) == len(UNLIKE) + 1
    assert None not in found


SAME: dict[str, Change] = {
    "id": lambda request: replace(request, id="7"),
    "deadline": lambda request: replace(request, deadline=5.0),
    "explain": hints(explain=True),
    "a header that no rule names": hints(headers={b"x-other": b"1"}),
    "the order of outputs": lambda request: replace(request, outputs=("z", "y")),
    "the order of inputs": lambda request: replace(request, inputs=dict(reversed(request.inputs.items()))),
}


@pytest.mark.parametrize("name", SAME)
def test_what_changes_no_answer_changes_no_key(keys: RequestKeys, name: str) -> None:
    assert keys.of(base()) == keys.of(SAME[name](base()))


def test_a_model_looks_at_no_headers_and_priorities(keys: RequestKeys) -> None:
    assert keys.of(base("a")) == keys.of(UNLIKE["a priority of the rules"](base("a")))
    assert keys.of(base("a")) == keys.of(UNLIKE["a header of the rules"](base("a")))


def test_what_a_request_is_made_of_does_not_stick_to_those_made_of_it(keys: RequestKeys) -> None:
    """As an ensemble makes the requests of its steps."""
    request = base()
    before = keys.of(request)
    assert request.content
    assert keys.of(UNLIKE["a value"](request)) != before


def test_other_files_and_other_rules_are_other_keys() -> None:
    setting = CachedSetting("a", "b", rules=RULES)
    keys = RequestKeys(setting.catalog)
    found = [keys.of(base())]
    setting.catalog.narrow(replace(setting.catalog.routes["both"], rules=RULES[:1]))
    found.append(keys.of(base()))
    model = setting.catalog.models["b"]
    served = model.versions["1"]
    setting.catalog.show(replace(model, versions={"1": Served(served.intake, served.replica)}))
    found.append(keys.of(base()))
    assert len(set(found)) == 3


def test_who_names_all_outputs_wants_what_one_wants_who_names_none(keys: RequestKeys) -> None:
    named, none = (replace(base(), outputs=outputs) for outputs in (("OUT",), ()))
    assert keys.of(named) == keys.of(none)


def test_where_nothing_is_open_there_is_no_key(keys: RequestKeys) -> None:
    assert keys.of(base("unknown")) is None
