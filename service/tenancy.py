"""Opens the accounts of the tenants that the settings name."""

import logging
from collections.abc import Callable, Collection, Sequence
from functools import partial

from service.access.accounts import Accounts
from service.access.ledger import Ledger
from service.access.shared_ledger import SharedLedger, gateway_name
from service.access.shared_script import TEXT
from service.redis_link.link import RedisLink
from service.redis_link.script import Script
from service.settings import Settings
from service.telemetry.tenants import TenantCounters
from service.tenant_settings import WindowSettings

LOGGER = logging.getLogger("batchyard.tenants")


def open_accounts(
    settings: Settings, counters: TenantCounters, link: RedisLink | None, clock: Callable[[], float]
) -> Accounts | None:
    """None where no tenants are named. `link`: where several gateways count together."""
    if not settings.tenants:
        return None
    if link is None:
        return Accounts(settings.tenants, lambda _, limits: Ledger(limits, clock), counters)
    count = partial(link.run, Script(TEXT))
    gateway = gateway_name()

    def shared(tenant: str, limits: Sequence[WindowSettings]) -> Ledger:
        return SharedLedger(tenant, limits, clock, count, gateway)

    return Accounts(settings.tenants, shared, counters)


def warn_of_unknown_routes(settings: Settings, known: Collection[str]) -> None:
    """Logs the names in the `routes` of tenants that no model or route of the server has."""
    for tenant, one in settings.tenants.items():
        for name in one.routes:
            if name not in known:
                LOGGER.warning("tenants.%s.routes: there is no model or route %r", tenant, name)
