"""The listening socket: bound before it listens, and closed so that no connection is lost."""

import ctypes
import select
import socket
import struct
import sys
from contextlib import suppress

_SO_ATTACH_FILTER = 26
"""Of Linux, include/uapi/asm-generic/socket.h; Python's socket module does not name it."""
_LOAD_BYTE, _AND, _JUMP_IF_EQUAL, _RETURN = 0x30, 0x54, 0x15, 0x06
"""Classic BPF: BPF_LD+B+ABS, BPF_ALU+AND+K, BPF_JMP+JEQ+K, BPF_RET+K."""
_TCP_FLAGS, _SYN, _SYN_AND_ACK = 13, 0x02, 0x12
_ALL = 0xFFFFFFFF
_NO_NEW_CONNECTIONS = (
    (_LOAD_BYTE, 0, 0, _TCP_FLAGS),
    (_AND, 0, 0, _SYN_AND_ACK),
    (_JUMP_IF_EQUAL, 0, 1, _SYN),
    (_RETURN, 0, 0, 0),
    (_RETURN, 0, 0, _ALL),
)
"""Drops the packet that asks for a new connection, and lets through all others."""


def bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet: callers are refused until it does. Raises `OSError`."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def give_up_after(listener: socket.socket, seconds: float) -> None:
    """Connections of a listening socket end when their caller takes none of what waits in the system for so long.

    Where the system cannot do this nothing happens.
    """
    if sys.platform.startswith("linux"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(seconds * 1000))


def somebody_waits(listener: socket.socket) -> bool:
    """Is there a connection to accept?"""
    looks = select.poll()
    looks.register(listener, select.POLLIN)
    return bool(looks.poll(0))


def take_no_more(listener: socket.socket) -> None:
    """Keeps new connections out of a listening socket, while those that wait in it can still be accepted.

    To close it right away would reset those. A caller that comes meanwhile asks again after a second, TCP's first
    timeout, and is refused then. Where the system cannot do this nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in _NO_NEW_CONNECTIONS)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HP", len(_NO_NEW_CONNECTIONS), ctypes.addressof(buffer))
    with suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
