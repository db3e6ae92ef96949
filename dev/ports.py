"""TCP ports of this machine's loopback."""

import socket
from contextlib import ExitStack, closing

_HIGHEST = 65535


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now. All are held until all are found: the kernel may give one it got back a moment ago
    to the next who asks."""
    with ExitStack() as held:
        probes = [held.enter_context(closing(socket.socket())) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


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
