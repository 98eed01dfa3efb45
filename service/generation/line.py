"""Who waits to be generated for: of each tenant the earliest due first, between tenants who had least by weight."""

from bisect import insort
from operator import attrgetter
from typing import Generic, Protocol, TypeVar

from service.fair import VirtualTime, most_held
from service.types import Tenant


class Waits(Protocol):
    """`due`: seconds on the gateway's clock. `tenant`: whose it is. `reserved`: what it costs."""

    due: float
    tenant: Tenant

    @property
    def reserved(self) -> int: ...


Waiting = TypeVar("Waiting", bound=Waits)

_by_due = attrgetter("due")


class Line(Generic[Waiting]):
    """A queue of what waits, few enough to be looked through each time one is taken."""

    def __init__(self) -> None:
        self.all: list[Waiting] = []
        """By due time."""
        self._time = VirtualTime()
        self._first_tenant: str | None = None
        self._several = False

    def add(self, one: Waiting) -> None:
        """Puts it where it is due, behind those that are due at the same time."""
        insort(self.all, one, key=_by_due)

    def next(self) -> Waiting:
        """Whose turn it is; something must wait."""
        heads: dict[str, Waiting] = {}
        for one in self.all:
            heads.setdefault(one.tenant.name, one)
        return min(heads.values(), key=lambda one: self._time.start(one.tenant))

    def take(self, one: Waiting) -> None:
        """Takes out the one whose turn it is; its tenant pays for it."""
        self._time.begin(self._time.start(one.tenant))
        self._time.charge(one.tenant, one.reserved)
        self.remove(one)

    def remove(self, one: Waiting) -> None:
        """Takes it out."""
        self.all.remove(one)
        if not self.all:
            self._time.reset()

    def clear(self) -> list[Waiting]:
        """Empties it; returns what waited."""
        everything, self.all = self.all, []
        self._time.reset()
        return everything

    def ahead(self, tenant: Tenant) -> list[Waiting]:
        """Those that have their turn before a newcomer of this tenant that is due last."""
        mine = [one for one in self.all if one.tenant.name == tenant.name]
        if len(mine) == len(self.all):
            return mine
        start = self._time.start(tenant) + sum(one.reserved for one in mine) / tenant.weight
        tags: dict[str, float] = {}
        for one in self.all:
            if one.tenant.name != tenant.name:
                tag = tags.get(one.tenant.name, self._time.start(one.tenant))
                tags[one.tenant.name] = tag + one.reserved / one.tenant.weight
                if tag <= start:
                    mine.append(one)
        return mine

    def may_hold(self, tenant: Tenant, held: int, more: int, free: int) -> bool:
        """May a tenant that holds so much have more, where so much is free? Only bounded where several were seen."""
        self._several = self._several or self._first_tenant not in (None, tenant.name)
        self._first_tenant = tenant.name
        return not self._several or not held or held + more <= most_held(free)
