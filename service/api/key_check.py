"""Lets a call of HTTP through to the app where its key opens what it asks for. Only there where tenants are named."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.access.account import Account
from service.access.accounts import Accounts
from service.api.callers import set_tenant
from service.api.errors import (
    Words,
    error_reply,
    is_openai,
    method_not_allowed,
    openai_shape,
    unknown_path,
    v2_shape,
)
from service.api.headers import RequestHeaders, RequestIds
from service.api.quota_headers import quota_headers
from service.api.reply import send_reply
from service.api.scopes import HTTP, Needed, Ways
from service.errors import BatchyardError


class KeyCheck:
    """Pure ASGI around `app`. What is in no table is refused, also to those who have a key."""

    def __init__(self, app: ASGIApp, accounts: Accounts, request_id: RequestIds, words: Words) -> None:
        self._app = app
        self._accounts = accounts
        self._request_id = request_id
        self._openai, self._v2 = openai_shape(), v2_shape(words)
        self._ways = Ways(HTTP)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        try:
            account = self._checked(scope)
        except BatchyardError as error:
            headers: RequestHeaders = dict(scope["headers"])
            request_id = self._request_id(headers)
            shape = self._openai if is_openai(scope["path"]) else self._v2
            return await send_reply(send, error_reply(error, shape, request_id), request_id)
        if account is None:
            return await self._app(scope, receive, send)
        set_tenant(scope, account.tenant)
        return await self._app(scope, receive, _with_quota(send, account))

    def _checked(self, scope: Scope) -> Account | None:
        """Who calls, None where anybody may; raises `BatchyardError`."""
        way = self._ways.find(scope["path"])
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        needed: Needed | None = way.methods.get(method) if way else None
        if needed == "public":
            return None
        account = self._accounts.caller(dict(scope["headers"]))
        if way is None:
            raise unknown_path(scope["path"])
        if needed is None:
            raise method_not_allowed(scope["path"], scope["method"], ", ".join(way.methods))
        if needed != "key":
            account.check_scope(needed)
        if needed == "infer" and way.model:
            account.check_route(way.model)
        return account


def _with_quota(send: Send, account: Account) -> Send:
    """Adds what is left to the head of the answer, as it is by then."""

    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *quota_headers(account.ledger.rooms())]
        await send(message)

    return told
