"""One tenant: what it may do, what it has under way, what it has used."""

import math
from dataclasses import replace
from typing import NoReturn

from service.access.ledger import Full, Ledger
from service.errors import NotAllowedError, QuotaExceededError
from service.telemetry.tenants import TenantCounters
from service.tenant_settings import Scope, TenantSettings
from service.types import Bill, Hints, Tenant

_SOON = 1.0
"""Seconds after which to come back where only the end of another call makes room."""
_UNITS = {"requests": "requests", "tokens": "tokens", "engine_seconds": "engine-seconds"}


class Account:
    """`running`: calls under way. Used on the event loop."""

    def __init__(self, name: str, settings: TenantSettings, ledger: Ledger, counters: TenantCounters) -> None:
        self.tenant = Tenant(name, settings.weight, frozenset(settings.routes))
        self.settings = settings
        self.ledger = ledger
        self.counters = counters
        self.running = 0

    def check_scope(self, scope: Scope) -> None:
        """Raises `NotAllowedError` where its keys do not open this."""
        if scope not in self.settings.scopes:
            self.counters.refused(self.tenant.name, "scope")
            raise NotAllowedError(f"this key has no scope {scope!r}, which this needs; it has {self._scopes()}")

    def _scopes(self) -> str:
        return " and ".join(repr(scope) for scope in self.settings.scopes)

    def check_route(self, name: str) -> None:
        """See `check_may_ask`."""
        if not self.tenant.may_ask(name):
            self.counters.refused(self.tenant.name, "route")
        check_may_ask(self.tenant, name)

    def hints(self, hints: Hints, bill: Bill) -> Hints:
        """The same with what counts for every call of this tenant, and where its cost is added up."""
        floor = max(hints.min_quality, self.settings.min_quality)
        return replace(hints, min_quality=floor, tenant=self.tenant, bill=bill)

    def priority(self, claimed: int) -> int:
        """No more urgent than it may claim; 0, the model's default, is no claim."""
        return max(claimed, self.settings.priority) if claimed else 0

    async def enter(self, name: str) -> None:
        """Admits a call to a model or route; `leave` is to be called once it is over. Raises `NotAllowedError`,
        `QuotaExceededError`."""
        self.check_route(name)
        most = self.settings.max_concurrency
        if most and self.running >= most:
            self._refuse("concurrency", f"as many requests as may are under way, {most}; wait for one of them", _SOON)
        self.running += 1
        full: Full | None = None
        try:
            full = await self.ledger.admit()
            if full is not None:
                self._refuse(full.measure, *_told(full))
        except BaseException:
            self.running -= 1
            raise
        self.counters.admitted(self.tenant.name)

    def leave(self, tokens: int, engine_seconds: float) -> None:
        """A call is over, however it ended, and has used so much."""
        self.running -= 1
        self.counters.used(self.tenant.name, tokens, engine_seconds)
        if tokens or engine_seconds:
            self.ledger.charge(tokens, engine_seconds)

    def _refuse(self, reason: str, text: str, retry_after: float) -> NoReturn:
        self.counters.refused(self.tenant.name, reason)
        raise QuotaExceededError(text, retry_after)


def check_may_ask(tenant: Tenant, name: str) -> None:
    """Raises `NotAllowedError` where the tenant may not ask the model or route, whether there is one or not."""
    if not tenant.may_ask(name):
        raise NotAllowedError(f"this key may not ask {name!r}; it may ask {', '.join(sorted(tenant.routes))}")


def _told(full: Full) -> tuple[str, float]:
    """What the caller is told, and the seconds until it may come back."""
    wait = math.ceil(full.wait * 1000) / 1000
    window = f"{full.limit:g} {_UNITS[full.measure]} within {full.seconds} s"
    return f"this tenant may use {window}, and has; there is room in {wait:g} s", wait
