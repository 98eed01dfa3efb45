"""The listening socket, and how it is closed."""

import socket
import sys
import time
from collections.abc import Iterator

import pytest

from service.listener import bind, give_up_after, take_no_more


@pytest.fixture(params=["127.0.0.1", "::1"])
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    try:
        made = bind(request.param, 0)
    except OSError:
        pytest.skip(f"there is no {request.param} here")
    with made:
        yield made


def connect(listener: socket.socket, timeout: float) -> socket.socket:
    return socket.create_connection(listener.getsockname()[:2], timeout)


def test_callers_are_refused_until_it_listens(listener: socket.socket) -> None:
    with pytest.raises(ConnectionRefusedError):
        connect(listener, 10)
    listener.listen()
    connect(listener, 10).close()


def test_a_taken_port_is_an_error_and_leaves_nothing_open(listener: socket.socket) -> None:
    listener.listen()
    host, port = listener.getsockname()[:2]
    with pytest.raises(OSError, match="Address already in use"):
        bind(host, port)


@pytest.mark.skipif(sys.platform != "linux", reason="a filter of Linux")
def test_who_waits_is_served_and_who_comes_later_is_not(listener: socket.socket) -> None:
    listener.listen()
    with connect(listener, 10) as waiting:
        take_no_more(listener)
        with pytest.raises(TimeoutError):
            connect(listener, 0.2)
        accepted, _ = listener.accept()
        with accepted:
            waiting.sendall(b"hello")
            assert accepted.recv(9) == b"hello"
            accepted.sendall(b"goodbye")
            assert waiting.recv(9) == b"goodbye"
        listener.setblocking(False)
        time.sleep(0.05)
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can do this")
def test_a_caller_that_takes_nothing_is_given_up_by_the_system(listener: socket.socket) -> None:
    give_up_after(listener, 0.2)
    listener.listen()
    with connect(listener, 10) as caller:
        accepted, _ = listener.accept()
        with accepted:
            accepted.settimeout(20)
            with pytest.raises(TimeoutError, match="Connection timed out"):
                accepted.sendall(b"x" * 2**27)
        assert caller.fileno() >= 0, "it was there all the time"
