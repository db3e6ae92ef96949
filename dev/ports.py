"""TCP ports of this machine's loopback."""

import random
import socket
from contextlib import closing
from itertools import islice

_HIGHEST = 65535
# Below those that the kernel gives to outgoing connections (Linux: 32768 and above): what is free stays so until its
# owner listens there, however many others look for ports meanwhile.
_TO_CHOOSE_FROM = range(10_000, 32_000)


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now, drawn at random: two who draw at once hardly ever draw the same."""
    drawn = random.sample(_TO_CHOOSE_FROM, len(_TO_CHOOSE_FROM))
    return list(islice(filter(is_free, drawn), count))


def free_port() -> int:
    """Whoever needs several asks for all at once: free_ports."""
    return free_ports(1)[0]


def is_free(port: int) -> bool:
    return refusal(port) is None


def refusal(port: int) -> OSError | None:
    """The kernel's, when we can not listen there."""
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as exc:
            return exc
    return None


def advice(port: int, refused: OSError) -> str:
    """What is wrong with the port, and which to take."""
    if isinstance(refused, PermissionError):
        return f"port {port} needs root; choose one from 1024 on: make demo PORT=7777"
    other = port + 1 if port < _HIGHEST else port - 1
    return f"port {port} is taken; choose another: make demo PORT={other}"
