"""A real request that shows that a process is ready. Each check returns False or raises OSError until it is."""

from socket import create_connection
from urllib.error import HTTPError

from dev.loopback import fetch


def redis(port: int) -> bool:
    """As the health check of compose.yaml: the user `health` may only ping. While Redis loads, it answers -LOADING."""
    with create_connection(("127.0.0.1", port), timeout=2) as connection, connection.makefile("rb") as replies:
        connection.sendall(b"AUTH health none\r\nPING\r\n")
        return [replies.readline(), replies.readline()] == [b"+OK\r\n", b"+PONG\r\n"]


def service(port: int) -> bool:
    with fetch(f"http://127.0.0.1:{port}/readyz") as answer:
        return bool(answer.status == 200)


def edge(port: int) -> bool:
    """The page, and a request that nginx passes to a gateway, which refuses it for lack of a credential."""
    with fetch(f"http://127.0.0.1:{port}/") as page:
        if page.status != 200:
            return False
    try:
        fetch(f"http://127.0.0.1:{port}/v1/conversations").close()
    except HTTPError as exc:
        return exc.code == 401
    return False
