"""Routes as gateway.toml says."""

from types import MappingProxyType

from service.route_settings import RouteSettings, RuleSettings
from service.routing.language import Detect, LanguageSetupError, no_language, open_detector
from service.routing.policies import POLICIES, Variant
from service.routing.route import Route
from service.routing.rules import Rule
from service.settings import InvalidSettingsError


def open_route(name: str, settings: RouteSettings) -> Route:
    """A route; raises `InvalidSettingsError` where its rules cannot be followed here."""
    variants = [Variant(v.model, v.quality, v.step_down, v.weight) for v in settings.variants]
    return Route(
        name,
        tuple(variant.model for variant in variants),
        POLICIES[settings.policy],
        MappingProxyType({variant.model: variant for variant in variants}),
        tuple(_rule(number, rule) for number, rule in enumerate(settings.rules, start=1)),
        settings.default_timeout_ms / 1000 if settings.default_timeout_ms else None,
        settings.min_quality,
        (settings.sticky_header or "").encode(),
        settings.retry_budget,
        settings.hedge,
        _detector(name, settings),
        settings.cache,
    )


def _rule(number: int, settings: RuleSettings) -> Rule:
    return Rule(
        settings.name or f"rule {number}",
        frozenset(settings.variants),
        settings.min_tokens,
        settings.max_tokens,
        frozenset(settings.language),
        settings.modality,
        settings.tenant,
        settings.priority,
        MappingProxyType({name.encode(): value.encode() for name, value in settings.header.items()}),
    )


def _detector(name: str, settings: RouteSettings) -> Detect:
    wanted = [code for rule in settings.rules for code in rule.language]
    if not wanted:
        return no_language
    try:
        return open_detector(wanted)
    except LanguageSetupError as error:
        raise InvalidSettingsError(f"routes.{name}.rules: language: {error}") from error
