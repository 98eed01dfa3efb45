"""Routes as gateway.toml says: what is understood, and how faults are told."""

import tomllib
from pathlib import Path

import pytest

from service.route_settings import RouteSettings
from service.routing.opening import open_route
from service.routing.policies import Variant, ordered, weighted
from service.routing.rules import Rule
from service.settings import InvalidSettingsError, load_settings

FULL = """
variants = ["big", { model = "small", quality = 0.98, step_down = true, weight = 0.5 }]
policy = "weighted"
default_timeout_ms = 1500
min_quality = 0.95
sticky_header = "X-User-Id"
retry_budget = 0.2
hedge = true
[[rules]]
name = "short german"
max_tokens = 16
language = ["de"]
header = { X-Canary = "yes" }
variants = ["small"]
[[rules]]
min_tokens = 17
modality = "text"
tenant = "retail"
priority = 1
variants = ["big"]
"""


def test_all_that_can_be_said_of_a_route() -> None:
    pytest.importorskip("py3langid")
    route = open_route("both", RouteSettings.model_validate(tomllib.loads(FULL)))
    assert (route.name, route.variants, route.policy) == ("both", ("big", "small"), weighted)
    assert route.variant("small") == Variant("small", 0.98, True, 0.5)
    assert route.variant("big") == Variant("big", None, False, 1.0)
    assert (route.default_timeout, route.min_quality, route.sticky_header) == (1.5, 0.95, b"x-user-id")
    assert (route.retry_budget, route.hedge) == (0.2, True)
    german = {"max_tokens": 16, "languages": frozenset({"de"}), "headers": {b"x-canary": b"yes"}}
    assert route.rules[0] == Rule("short german", frozenset({"small"}), **german)  # type: ignore[arg-type]
    retail = Rule("rule 2", frozenset({"big"}), min_tokens=17, modality="text", tenant="retail", priority=1)
    assert route.rules[1] == retail
    assert route.detect("Ich habe meine Karte verloren") == "de"


def test_what_is_not_said() -> None:
    route = open_route("one", RouteSettings.model_validate({"variants": ["x"]}))
    assert (route.policy, route.rules, route.default_timeout, route.min_quality) == (ordered, (), None, 0.0)
    assert (route.sticky_header, route.retry_budget, route.hedge) == (b"", 0.1, False)


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("variants = [{ model = 'x', qualty = 1 }]", "variants.0.qualty: unknown key; did you mean 'quality'?"),
        ("variants = [{ model = 'x', quality = 2 }]", "variants.0.quality: found 2; wanted less than or equal to 1"),
        ("variants = [{ weight = 2 }]", "variants.0.model: is missing; add it"),
        ("variants = [7]", "wanted names of models, or tables such as { model = 'small', step_down = true }"),
        ("variants = []", "variants: found []; "),
        ("variants = ['x', 'x']", "variant 'x' stands there twice; wanted each once"),
        ("variants = ['x']\nhegde = true", "routes.both.hegde: unknown key; did you mean 'hedge'?"),
        ("variants = ['x']\npolicy = 'random'", "found 'random'; wanted 'ordered', 'fastest' or 'weighted'"),
        ("variants = ['x']\ndefault_timeout_ms = 0", "default_timeout_ms: found 0; wanted greater than 0"),
        ("variants = ['x']\nsticky_header = 'x y'", "sticky_header: found 'x y'; "),
        ("variants = ['x']\nsticky_header = 'x-user'", "sticky_header is for the policy 'weighted'; wanted that"),
        (
            "variants = [{ model = 'x', weight = 0 }]\npolicy = 'weighted'",
            "no variant has a weight; wanted one above 0",
        ),
        ("variants = ['x']\nrules = [{ variants = ['y'] }]", "rule 1 names 'y'; wanted some of x"),
        ("variants = ['x']\nrules = [{ variants = [] }]", "rules.0.variants: found []; "),
        ("variants = ['x']\nrules = [{ max_token = 1, variants = ['x'] }]", "unknown key; did you mean 'max_tokens'?"),
        (
            "variants = ['x']\nrules = [{ min_tokens = 2, max_tokens = 1, variants = ['x'] }]",
            "rule 1 matches nothing: max_tokens is below min_tokens",
        ),
        ("variants = ['x']\nrules = [{ language = ['German'], variants = ['x'] }]", "language.0: found 'German'; "),
    ],
)
def test_faults_say_where_what_and_what_to_write(tmp_path: Path, toml: str, message: str) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(f"[routes.both]\n{toml}")
    with pytest.raises(InvalidSettingsError) as caught:
        load_settings({}, path)
    assert message in str(caught.value)
    assert "gateway.toml: routes.both" in str(caught.value)


def test_a_language_that_nobody_knows_stops_the_start() -> None:
    pytest.importorskip("py3langid")
    rules = [{"language": ["xx"], "variants": ["x"]}]
    with pytest.raises(InvalidSettingsError, match=r"routes.both.rules: language: no language 'xx'; wanted ISO 639"):
        open_route("both", RouteSettings.model_validate({"variants": ["x"], "rules": rules}))
