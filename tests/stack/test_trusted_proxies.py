"""Behind a TLS proxy: with PARLEY_TRUSTED_PROXIES the limits, the throttle, the audit log, cookies and origins follow
the client's address and scheme, and an address that is not trusted is believed nothing."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from http.client import HTTPResponse
from http.cookies import Morsel, SimpleCookie
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from dev import nginx
from dev.ports import free_port
from dev.stack import ROOT, Plan, Stack
from tests.stack.conftest import PASSWORD, client_from
from tests.stack.tls_proxy import ADDRESS, HOST, TlsProxy, running_nginx, tls_proxy

TRUSTING = {"PARLEY_TRUSTED_PROXIES": f"{ADDRESS}, fd00::/8"}
CLAIMED = "203.0.113.9"
CLAIMS = {
    "X-Forwarded-For": CLAIMED,
    "X-Forwarded-Proto": "https",
    "X-Real-IP": CLAIMED,
    "Forwarded": f"for={CLAIMED};proto=https",
}
GUESSES = 60


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(Plan(tmp_path_factory.mktemp("trusting"), gateways=1, nginx=TRUSTING)) as stack:
        stack.add_user("ada", PASSWORD, admin=True)
        yield stack


@pytest.fixture(scope="module")
def proxy(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsProxy]:
    with tls_proxy(tmp_path_factory.mktemp("proxy"), stack.port) as proxy:
        yield proxy


async def log_in(http: httpx2.AsyncClient, name: str = "ada", password: str = PASSWORD, **headers: str) -> Any:
    return await http.post("/auth/login", json={"username": name, "password": password}, headers=headers)


def session(response: httpx2.Response) -> Morsel[str]:
    return next(iter(SimpleCookie(response.headers.get_list("set-cookie")[0]).values()))


def logged(folder: Path, path: str, address: str) -> set[str]:
    """The addresses of the requests to `path` in nginx's log, as soon as `address` is among them; nginx writes a line
    after the response. Bounded by the test's timeout."""
    addresses: set[str] = set()
    while address not in addresses:
        time.sleep(0.02)
        lines = [json.loads(line) for line in (folder / "access.log").read_text().splitlines()]
        addresses = {line["remote_addr"] for line in lines if line["path"] == path}
    return addresses


async def test_wrong_log_ins_of_one_client_do_not_delay_the_first_log_in_of_another(
    stack: Stack, proxy: TlsProxy
) -> None:
    async with proxy.client("127.0.2.1") as guesser, proxy.client("127.0.2.2") as owner:
        guesses = [await log_in(guesser, f"nobody{number}", "wrong horse") for number in range(GUESSES)]
        assert {one.status_code for one in guesses} == {401, 429}
        assert (await log_in(guesser)).status_code == 429
        assert (await log_in(owner)).status_code == 200
        entries = (await owner.get("/auth/admin/audit", params={"limit": 100})).json()["data"]
    actions = [(entry["action"], entry["address"]) for entry in entries if entry["address"]]
    assert actions[0] == ("logged_in", "127.0.2.2")
    assert ("login_refused", "127.0.2.1") in actions
    assert ADDRESS not in {address for _, address in actions}


async def test_a_flood_of_one_client_does_not_limit_another(stack: Stack, proxy: TlsProxy) -> None:
    path = "/auth/openid/login"
    async with proxy.client("127.0.2.3") as flooding, proxy.client("127.0.2.4") as other:
        answers = await asyncio.gather(*(flooding.get(path) for _ in range(250)))
        assert 429 in {answer.status_code for answer in answers}
        assert (await other.get(path)).status_code != 429
    assert logged(stack.plan.directory / "nginx", path, "127.0.2.4") == {"127.0.2.3", "127.0.2.4"}


async def test_a_client_behind_the_proxy_cannot_claim_an_address(stack: Stack, proxy: TlsProxy) -> None:
    path = "/auth/claimed-behind-the-proxy"
    async with proxy.client("127.0.2.5") as http:
        await http.get(path, headers=CLAIMS)
    assert logged(stack.plan.directory / "nginx", path, "127.0.2.5") == {"127.0.2.5"}


async def test_an_address_that_is_not_trusted_is_believed_nothing(stack: Stack) -> None:
    path = "/auth/claimed-directly"
    async with client_from(f"http://127.0.0.1:{stack.port}", "127.0.2.6") as http:
        await http.get(path, headers=CLAIMS)
        cookie = session(await log_in(http, **CLAIMS))
        assert (cookie.key, cookie["secure"]) == ("parley_session", "")
        sessions = (await http.get("/auth/sessions")).json()["data"]
        answer = await http.get("/v1/conversations", headers=CLAIMS)
    assert logged(stack.plan.directory / "nginx", path, "127.0.2.6") == {"127.0.2.6"}
    assert CLAIMED not in json.dumps(sessions)
    assert answer.status_code == 200


async def test_over_tls_only_the_cookie_of_this_host_counts(proxy: TlsProxy) -> None:
    async with proxy.client("127.0.2.7") as http:
        cookie = session(await log_in(http))
        assert (cookie.key, cookie["secure"], cookie["path"]) == ("__Host-parley_session", True, "/")
        http.cookies.clear()
        for path in ("/auth/me", "/v1/conversations"):
            planted = await http.get(path, headers={"Cookie": f"parley_session={cookie.value}"})
            assert planted.status_code == 401, path
            own = await http.get(path, headers={"Cookie": f"{cookie.key}={cookie.value}"})
            assert own.status_code == 200, path


@pytest.mark.parametrize(
    ("host", "origin", "same"),
    [
        (HOST, f"https://{HOST}", True),
        (f"{HOST}:443", f"https://{HOST}", True),
        (f"{HOST}:8443", f"https://{HOST}:8443", True),
        (HOST, f"http://{HOST}", False),
        (f"{HOST}:80", f"https://{HOST}", False),
        (f"{HOST}:8443", f"https://{HOST}", False),
        (HOST, f"https://evil.{HOST}", False),
    ],
)
async def test_over_tls_the_origin_is_the_host_with_https(proxy: TlsProxy, host: str, origin: str, same: bool) -> None:
    headers = {"Host": host, "Origin": origin}
    async with proxy.client("127.0.2.8") as http:
        cookie = session(await log_in(http, Host=host))
        headers["Cookie"] = f"{cookie.key}={cookie.value}"
        assert (await log_in(http, **headers)).status_code == (200 if same else 403)
        created = await http.post("/v1/conversations", json={}, headers=headers | {"Cookie": await renewed(http, host)})
        assert created.status_code == (200 if same else 403)
        assert await shakes_hands(proxy, headers | {"Cookie": await renewed(http, host)}) == same


async def renewed(http: httpx2.AsyncClient, host: str) -> str:
    """A log-in ends the session that the browser had before."""
    cookie = session(await log_in(http, Host=host))
    return f"{cookie.key}={cookie.value}"


async def shakes_hands(proxy: TlsProxy, headers: dict[str, str]) -> bool:
    address = f"wss://{headers['Host']}/v1/responses"
    where: dict[str, Any] = {"host": "127.0.0.1", "port": proxy.port, "ssl": proxy.tls, "server_hostname": "127.0.0.1"}
    cookie = {"Cookie": headers["Cookie"]}
    try:
        async with connect(address, **where, origin=Origin(headers["Origin"]), additional_headers=cookie):
            return True
    except InvalidStatus as exc:
        return exc.response.status_code != 403


@pytest.fixture(scope="module")
def proxy_protocol(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """Another nginx in front of the same services: its port, and the folder of its log."""
    folder, port = tmp_path_factory.mktemp("proxy-protocol"), free_port()
    services = [stack.gateway(1).command.port], stack.processes["auth-service"].command.port
    environment = TRUSTING | {"PARLEY_PROXY_PROTOCOL": "true"}
    text = nginx.configuration(
        ROOT, folder, port=port, gateway_ports=services[0], auth_port=services[1], environment=environment
    )
    (folder / "nginx.conf").write_text(text)
    with running_nginx(folder, port):
        yield port, folder


def status_and_cookies(port: int, source: str, preamble: str) -> tuple[int, str]:
    body = json.dumps({"username": "ada", "password": PASSWORD})
    lines = ["POST /auth/login HTTP/1.1", f"Host: {HOST}", "Connection: close", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(body)}", *(f"{name}: {value}" for name, value in CLAIMS.items())]
    with socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(source, 0)) as connection:
        connection.sendall("\r\n".join([preamble, *lines, "", body]).encode())
        response = HTTPResponse(connection)
        response.begin()
        return response.status, str(response.getheader("Set-Cookie"))


@pytest.mark.parametrize(
    ("source", "address", "destination_port", "secure"),
    [
        (ADDRESS, "198.51.100.7", 443, True),
        (ADDRESS, "198.51.100.8", 80, False),
        ("127.0.2.9", "127.0.2.9", 443, False),
    ],
    ids=["over TLS", "plain", "not trusted"],
)
def test_the_proxy_protocol_is_believed_from_a_trusted_proxy_alone(
    stack: Stack,
    proxy_protocol: tuple[int, Path],
    source: str,
    address: str,
    destination_port: int,
    secure: bool,
) -> None:
    port, folder = proxy_protocol
    claimed = address if source == ADDRESS else CLAIMED
    preamble = f"PROXY TCP4 {claimed} 192.0.2.1 5555 {destination_port}"
    status, cookies = status_and_cookies(port, source, preamble)
    assert status == 200
    assert cookies.startswith("__Host-parley_session=" if secure else "parley_session=")
    assert CLAIMED not in logged(folder, "/auth/login", address)
