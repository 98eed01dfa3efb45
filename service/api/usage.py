"""GET /v1/usage: what tenants have used, and may."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request

from service.access.account import Account
from service.access.accounts import Accounts
from service.access.window import Room
from service.api.callers import tenant_of
from service.errors import NotAllowedError, NotFoundError


@dataclass(frozen=True, slots=True)
class Amount:
    """What was used of one measure. `limit` null: any amount. `reset_seconds`: until nothing of it counts any more."""

    limit: float | None
    used: float
    remaining: float | None
    reset_seconds: float


@dataclass(frozen=True, slots=True)
class WindowUsage:
    """Within the last so many seconds, at all gateways that share a Redis."""

    seconds: int
    requests: Amount
    tokens: Amount
    engine_seconds: Amount


@dataclass(frozen=True, slots=True)
class TenantUsage:
    """Of one tenant. The totals are this gateway's, since it started. `running`: calls under way here."""

    tenant: str
    requests: int
    tokens: int
    engine_seconds: float
    running: int
    max_concurrency: int | None
    windows: list[WindowUsage]


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one tenant or more."""

    data: list[TenantUsage]
    object: str = "list"


class UsagePath:
    """Tells each tenant its own usage, and that of others to those that may see numbers."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def routes(self) -> APIRouter:
        """The one path."""
        router = APIRouter(prefix="/v1", tags=["Tenants"])
        router.get("/usage", summary="What a tenant has used, and may")(self.usage)
        return router

    async def usage(
        self,
        request: Request,
        tenant: Annotated[str, Query(description='Another one, or "*": all. Needs the scope metrics or admin.')] = "",
    ) -> Usage:
        """What the caller has used of each of its windows, with limit, rest and reset."""
        own = tenant_of(request.scope).name
        found = self._wanted(own, tenant or own)
        await asyncio.gather(*(account.ledger.refresh() for account in found))
        return Usage([_usage(account) for account in found])

    def _wanted(self, own: str, name: str) -> Sequence[Account]:
        caller = self._accounts.named(own)
        if name != own and (caller is None or not {"metrics", "admin"} & set(caller.settings.scopes)):
            raise NotAllowedError("this key may see its own usage only; that of others needs the scope 'metrics'")
        if name == "*":
            return list(self._accounts)
        account = self._accounts.named(name)
        if account is None:
            known = ", ".join(sorted(one.tenant.name for one in self._accounts))
            raise NotFoundError(f"there is no tenant {name!r}; known are {known}")
        return [account]


def _usage(account: Account) -> TenantUsage:
    name, counters = account.tenant.name, account.counters
    rooms = account.ledger.rooms()
    windows = [_window(rooms[at : at + 3]) for at in range(0, len(rooms), 3)]
    return TenantUsage(
        name,
        counters.requests[name],
        counters.tokens[name],
        round(counters.engine_seconds.get(name, 0.0), 6),
        account.running,
        account.settings.max_concurrency or None,
        windows,
    )


def _window(rooms: Sequence[Room]) -> WindowUsage:
    requests, tokens, engine_seconds = map(_amount, rooms)
    return WindowUsage(rooms[0].seconds, requests, tokens, engine_seconds)


def _amount(room: Room) -> Amount:
    limit, remaining = (room.limit, round(room.remaining, 6)) if room.limit else (None, None)
    return Amount(limit, round(room.used, 6), remaining, round(room.reset, 3))
