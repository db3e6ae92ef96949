"""TCP ports of this machine's loopback interface."""

import random
import socket
from contextlib import closing
from itertools import islice

_MAX_PORT = 65535
# Below the range that the kernel gives to outgoing connections (Linux: 32768 and above): a free port stays free until
# its owner listens there, however many others look for ports meanwhile.
_CANDIDATES = range(10_000, 32_000)


def free_ports(count: int) -> list[int]:
    """Ports that are free now, drawn at random: two callers at once hardly ever draw the same."""
    drawn = random.sample(_CANDIDATES, len(_CANDIDATES))
    return list(islice(filter(is_free, drawn), count))


def free_port() -> int:
    """For several ports, call free_ports once."""
    return free_ports(1)[0]


def is_free(port: int) -> bool:
    return bind_error(port) is None


def bind_error(port: int) -> OSError | None:
    """The kernel's error if the port cannot be bound."""
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as exc:
            return exc
    return None


def explain(port: int, error: OSError) -> str:
    """What is wrong with the port, and which one to choose."""
    if isinstance(error, PermissionError):
        return f"port {port} needs root; choose one from 1024 on: make demo PORT=7777"
    other = port + 1 if port < _MAX_PORT else port - 1
    return f"port {port} is taken; choose another: make demo PORT={other}"
