"""What stands behind a name, in one number: it changes when anything of it is loaded anew with other files."""

import asyncio
import logging
from collections.abc import Collection, Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple

from engines.digest import digest_of_files
from engines.repository import ModelEntry
from service.cache.key import framed, word
from service.catalog import Catalog
from service.pipelines.pipeline import Pipeline
from service.routing.route import Route
from service.routing.served import no_digest
from service.steps import step_names

LOGGER = logging.getLogger("batchyard.runtime")


class Looks(NamedTuple):
    """What routes look at beside the content: `headers`, in the order of their names, and the `priority`."""

    headers: tuple[bytes, ...] = ()
    priority: bool = False

    def __bool__(self) -> bool:
        return bool(self.headers) or self.priority


class Digests:
    """Of models and routes, remembered until the catalog changes. Used on the event loop only.

    A route's covers its open variants, well or not: a breaker that opens empties no cache.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._changes = catalog.changes
        self._known: dict[tuple[str, str], bytes] = {}

    def of(self, name: str, version: str = "") -> bytes | None:
        """The digest of a version, "" for the newest; None where nothing is open by this name."""
        if self._changes != self._catalog.changes:
            self._changes = self._catalog.changes
            self._known.clear()
        known = self._known.get((name, version))
        if known is not None:
            return known
        found = self._find(name, version)
        if found is not None:
            self._known[name, version] = found
        return found

    def _find(self, name: str, version: str) -> bytes | None:
        route = self._catalog.routes.get(name)
        if route is not None:
            if version not in ("", "1"):
                return None
            parts = [(variant, "") for variant in route.variants if self._catalog.newest(variant)]
            return self._joined(_words_of(route), parts) if parts else None
        model = self._catalog.models.get(name)
        served = model.versions.get(version or model.newest) if model else None
        if served is None:
            return None
        return self._joined(served.digest, served.parts) if served.parts else served.digest

    def looks(self, name: str) -> Looks:
        """What all routes behind a name look at, its own and those of its steps; worked out anew each time."""
        routes = self._routes_behind(name)
        rules = [rule for route in routes for rule in route.rules]
        headers = {header for rule in rules for header in rule.headers} | {route.sticky_header for route in routes}
        return Looks(tuple(sorted(headers - {b""})), any(rule.priority for rule in rules))

    def _routes_behind(self, name: str) -> list[Route]:
        found: list[Route] = []
        left, seen = [name], set[str]()
        while left:
            one = left.pop()
            if one in seen:
                continue
            seen.add(one)
            route, model = self._catalog.routes.get(one), self._catalog.models.get(one)
            if route is not None:
                found.append(route)
                left += route.variants
            elif model is not None:
                left += [part for served in model.versions.values() for part, _ in served.parts]
        return found

    def _joined(self, own: bytes, parts: Iterable[tuple[str, str]]) -> bytes:
        fields = [own]
        for name, version in parts:
            fields += (word(name), word(version), self.of(name, version) or b"")
        return sha256(framed(fields)).digest()


def _words_of(route: Route) -> bytes:
    """All by which it chooses, the same in every process."""
    rules = [
        (
            (rule.name, rule.min_tokens, rule.max_tokens, rule.modality, rule.tenant, rule.priority),
            (sorted(rule.variants), sorted(rule.languages), sorted(rule.headers.items())),
        )
        for rule in route.rules
    ]
    variants = [route.variant(name) for name in route.variants]
    return repr((route.policy.__name__, variants, rules, route.min_quality, route.sticky_header)).encode()


async def digest_of(entry: ModelEntry, version: str) -> bytes:
    """The digest of a version's files and configuration, read on a thread; one of its own where that cannot be done."""
    if entry.config is None:
        return no_digest()
    try:
        return await asyncio.to_thread(digest_of_files, entry.config, entry.folder, version)
    except OSError as error:
        LOGGER.warning("the files of %s cannot be told apart: %s; its answers are cached here only", entry.name, error)
        return no_digest()


def behind_caches(entries: Sequence[ModelEntry], routes: Collection[Route], pipelines: Sequence[Pipeline]) -> set[str]:
    """The names of what is cached, and of all that has a part in it."""
    asks = {entry.name: step_names(entry) for entry in entries}
    asks |= {route.name: list(route.variants) for route in routes}
    asks |= {pipeline.model: [name for name, _ in pipeline.parts] for pipeline in pipelines}
    left = [entry.name for entry in entries if entry.config and entry.config.response_cache]
    left += [route.name for route in routes if route.cache]
    left += [pipeline.model for pipeline in pipelines if pipeline.cached]
    found: set[str] = set()
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += asks.get(name, ())
    return found
