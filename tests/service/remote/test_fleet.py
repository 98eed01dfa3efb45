"""Servers come and go with the addresses of their name."""

import asyncio

import pytest

from engines.errors import EngineTimeoutError, EngineUnreachableError
from engines.remote_model import Address
from service.remote.endpoint import Endpoint
from service.remote.fleet import Fleet
from service.remote.pool import Pool
from tests.service.remote.doubles import GONE, Clock, Server, servers_of, settle


def address(host: str) -> Address:
    return Address("grpc", False, host, 1, server_name="triton.svc")


async def agree(endpoint: Endpoint) -> None:
    """All servers have the same model."""


class Names:
    """Implements `Resolve`."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = set(addresses)
        self.fails = False

    async def __call__(self, name: str, port: int) -> set[str]:
        if self.fails:
            raise OSError("no such name")
        return set(self.addresses)


async def test_the_first_that_answers_says_what_the_model_is() -> None:
    made: dict[str, Server] = {}
    pool = Pool("m", 100, Clock())
    fleet = Fleet(servers_of(made, ["a", "b", "c"]), pool, Clock())
    made["grpc://a:1"], made["grpc://b:1"] = Server(), Server()
    made["grpc://a:1"].described = GONE
    made["grpc://b:1"].described = EngineTimeoutError("late")
    assert (await fleet.open()).backend == "identity"
    await fleet.close(0.0)
    assert all(server.closed for server in made.values())


async def test_where_none_answers_all_reasons_are_told() -> None:
    made = {"grpc://a:1": Server(), "grpc://b:1": Server()}
    for server in made.values():
        server.described = GONE
    fleet = Fleet(servers_of(made, ["a", "b"]), Pool("m", 100, Clock()), Clock())
    with pytest.raises(EngineUnreachableError, match="grpc://a:1: connection refused; grpc://b:1: connection refused"):
        await fleet.open()
    await fleet.close(0.0)


async def test_every_address_of_a_name_is_a_server() -> None:
    made: dict[str, Server] = {}
    names, pool = Names("10.0.0.1", "10.0.0.2"), Pool("m", 100, Clock())
    fleet = Fleet(servers_of(made, name="triton.svc"), pool, Clock(), names)
    await fleet.open()
    await fleet.watch(agree)
    assert sorted(one.url for one in pool.endpoints.values() if one.up) == ["grpc://10.0.0.1:1", "grpc://10.0.0.2:1"]
    await fleet.close(0.0)


async def test_a_new_address_joins_after_a_good_probe() -> None:
    made = {"grpc://10.0.0.2:1": Server()}
    names, pool = Names("10.0.0.1"), Pool("m", 100, Clock())
    fleet = Fleet(servers_of(made, name="triton.svc"), pool, Clock(), names)
    await fleet.open()
    await fleet.watch(agree)
    made["grpc://10.0.0.2:1"].probe = GONE
    fleet.update(tuple(address(host) for host in ("10.0.0.1", "10.0.0.2")))
    await settle()
    assert [one.up for one in pool.endpoints.values()] == [True, False]
    made["grpc://10.0.0.2:1"].probe = None
    pool.endpoints["grpc://10.0.0.2:1"].wake.set()
    await settle()
    assert [one.up for one in pool.endpoints.values()] == [True, True]
    await fleet.close(0.0)


async def test_one_that_vanishes_is_closed_once_it_has_answered() -> None:
    made: dict[str, Server] = {}
    pool = Pool("m", 100, Clock())
    fleet = Fleet(servers_of(made, name="triton.svc"), pool, Clock(), Names("10.0.0.1", "10.0.0.2"))
    await fleet.open()
    await fleet.watch(agree)
    leaving = pool.endpoints["grpc://10.0.0.1:1"]
    leaving.enter()
    fleet.update((address("10.0.0.2"),))
    await settle()
    assert list(pool.endpoints) == ["grpc://10.0.0.2:1"]
    assert not leaving.up
    assert (fleet.held, made["grpc://10.0.0.1:1"].closed) == (1, False)
    leaving.leave()
    await settle()
    assert (fleet.held, made["grpc://10.0.0.1:1"].closed) == (0, True)
    await fleet.close(0.0)


async def test_a_name_that_cannot_be_looked_up_is_told_of() -> None:
    names = Names()
    names.fails = True
    fleet = Fleet(servers_of({}, name="triton.svc"), Pool("m", 100, Clock()), Clock(), names)
    with pytest.raises(EngineUnreachableError, match=r"name 'triton.svc' cannot be looked up: no such name"):
        await fleet.open()
    names.fails = False
    with pytest.raises(EngineUnreachableError, match="has no address"):
        await fleet.open()


async def test_closing_waits_for_what_the_servers_have() -> None:
    made: dict[str, Server] = {}
    pool = Pool("m", 100, Clock())
    fleet = Fleet(servers_of(made, ["a"]), pool, Clock())
    await fleet.open()
    await fleet.watch(agree)
    (endpoint,) = pool.endpoints.values()
    endpoint.enter()
    closing = asyncio.create_task(fleet.close(5.0))
    await settle()
    assert not closing.done()
    endpoint.leave()
    await closing
    assert made["grpc://a:1"].closed


async def test_who_joins_while_it_closes_is_closed_too() -> None:
    made: dict[str, Server] = {}
    pool = Pool("m", 100, Clock())
    fleet = Fleet(servers_of(made, name="triton.svc"), pool, Clock(), Names("10.0.0.1"))
    await fleet.open()
    await fleet.watch(agree)
    (endpoint,) = pool.endpoints.values()
    endpoint.enter()
    closing = asyncio.create_task(fleet.close(5.0))
    await settle()
    fleet.update(tuple(address(host) for host in ("10.0.0.1", "10.0.0.2")))
    endpoint.leave()
    await closing
    assert {url: server.closed for url, server in made.items()} == {
        "grpc://10.0.0.1:1": True,
        "grpc://10.0.0.2:1": True,
    }
