"""All tenants, and whose a key is."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from service.access.account import Account
from service.access.credentials import key_of
from service.access.keys import KeyRing
from service.access.ledger import Ledger
from service.errors import UnauthenticatedError
from service.telemetry.tenants import TenantCounters
from service.tenant_settings import TenantSettings, WindowSettings

OpenLedger = Callable[[str, Sequence[WindowSettings]], Ledger]
"""Of a tenant with such limits."""


class Accounts:
    """Used on the event loop."""

    def __init__(
        self, tenants: Mapping[str, TenantSettings], open_ledger: OpenLedger, counters: TenantCounters
    ) -> None:
        self._by_name = {
            name: Account(name, tenant, open_ledger(name, tenant.limits), counters) for name, tenant in tenants.items()
        }
        owners = [(bytes.fromhex(key), one) for one in self for key in one.settings.keys]
        self._keys: KeyRing[Account] = KeyRing(owners)

    def __iter__(self) -> Iterator[Account]:
        return iter(self._by_name.values())

    def caller(self, headers: Mapping[bytes, bytes]) -> Account:
        """Whose key the headers hold, names in lower case; raises `UnauthenticatedError`."""
        account = self._keys.owner(key_of(headers))
        if account is None:
            raise UnauthenticatedError("nobody has this key; send one that `batchyard key new` made for this server")
        return account

    def named(self, name: str) -> Account | None:
        """The tenant of this name; None where there is none."""
        return self._by_name.get(name)
