"""Tests of dev.nginx and of the script that it runs, nginx/configure.sh."""

import asyncio
import re
import subprocess
from pathlib import Path

import pytest

from dev import nginx
from dev.ports import free_ports
from dev.process import StartFailed
from dev.stack import ROOT
from tests.stack.tls_proxy import running_nginx

PROXIES = "PARLEY_TRUSTED_PROXIES"


def generated(folder: Path, **environment: str) -> str:
    nginx.generate(ROOT, folder, ["8080"], environment)
    return "".join(file.read_text() for file in sorted(folder.iterdir()))


@pytest.mark.parametrize("value", ["", " , "])
def test_without_a_trusted_proxy_no_address_is_replaced(tmp_path: Path, value: str) -> None:
    text = generated(tmp_path, **{PROXIES: value})
    assert "set_real_ip_from" not in text
    assert "listen 8080 default_server;" in text


def test_each_trusted_network_is_written_for_the_address_and_for_the_scheme(tmp_path: Path) -> None:
    networks = ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1", "::ffff:0:0/96", "8000::/1", "1:2:3:4:5:6:7:8/128"]
    lines = [line.strip() for line in generated(tmp_path, **{PROXIES: " , ".join(networks)}).splitlines()]
    assert [line for line in lines if line.startswith("set_")] == [f"set_real_ip_from {one};" for one in networks]
    assert [line for line in lines if line.endswith(" 1;")] == [f"{one} 1;" for one in networks]


@pytest.mark.parametrize(
    "value",
    [
        *("10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/08", "0.0.0.0/0", "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.0/"),
        *("fd00::1/8", "fd00::/129", "::/0", ":", ":::", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7::8", "12345::"),
        *("::1.2.3.4", "fe80::1%eth0", "nginx.org", "*", "10.0.0.0 10.0.0.1", "10.0.0.0/8; deny all", "10.0.0.0/8\n}"),
    ],
)
def test_an_invalid_network_is_named(tmp_path: Path, value: str) -> None:
    with pytest.raises(StartFailed) as failed:
        generated(tmp_path, **{PROXIES: f"172.16.0.0/12,{value},::1"})
    assert str(failed.value) == (
        f'nginx: {PROXIES} is invalid: expected addresses or networks such as 10.0.0.0/8, got "{value}".'
    )


def test_the_proxy_protocol_replaces_the_header(tmp_path: Path) -> None:
    text = generated(tmp_path, PARLEY_PROXY_PROTOCOL="Yes", **{PROXIES: "10.0.0.0/8"})
    assert "listen 8080 default_server proxy_protocol;" in text
    assert "real_ip_header proxy_protocol;" in text
    assert "x_forwarded" not in text


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"PARLEY_PROXY_PROTOCOL": "true"}, "PARLEY_PROXY_PROTOCOL also requires PARLEY_TRUSTED_PROXIES."),
        ({"PARLEY_PROXY_PROTOCOL": "v2"}, 'PARLEY_PROXY_PROTOCOL is invalid: expected true or false, got "v2".'),
        (
            {"PARLEY_COOKIE_SECURE": "perhaps"},
            'PARLEY_COOKIE_SECURE is invalid: expected true or false, got "perhaps".',
        ),
    ],
)
def test_an_invalid_choice_is_named(tmp_path: Path, environment: dict[str, str], sentence: str) -> None:
    with pytest.raises(StartFailed, match=sentence):
        generated(tmp_path, **environment)


def test_nginx_accepts_the_generated_configuration(tmp_path: Path) -> None:
    text = nginx.configuration(
        ROOT,
        tmp_path,
        port=7777,
        gateway_ports=[8001],
        auth_port=8002,
        environment={PROXIES: "10.0.0.0/8, 2001:db8::/32", "PARLEY_PROXY_PROTOCOL": "1", "PARLEY_COOKIE_SECURE": "on"},
    )
    (tmp_path / "nginx.conf").write_text(text)
    done = subprocess.run([*nginx.arguments(tmp_path), "-t"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr


MEBIBYTE = 2**20
# What configure.sh reckons with.
BYTES_PER_CONNECTION = 12 * 1024
NOT_LIMITED = {"memory.max": "max", "cpu.max": "max 100000"}


def workers(folder: Path, files: dict[str, str], cpus: int = 128) -> tuple[int, int]:
    """The number of workers, and of connections of each, in a control group with these files."""
    for name, text in files.items():
        file = folder / "cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    text = generated(folder / "generated", NGINX_CPUS=str(cpus), NGINX_CGROUP=str(folder / "cgroup"))
    found = re.search(r"worker_processes (\d+);\nevents {\n    worker_connections (\d+);\n}", text)
    assert found
    return int(found[1]), int(found[2])


@pytest.mark.parametrize(
    ("files", "cpus", "expected"),
    [
        ({"memory.max": str(256 * MEBIBYTE), "cpu.max": "max 100000"}, 2, 2),
        ({"memory.max": str(256 * MEBIBYTE), "cpu.max": "max 100000"}, 128, 8),
        ({"memory.max": str(1024 * MEBIBYTE), "cpu.max": "max 100000"}, 256, 32),
        ({"memory.max": str(8192 * MEBIBYTE), "cpu.max": "max 100000"}, 256, 64),
        ({"memory.max": str(16 * MEBIBYTE), "cpu.max": "max 100000"}, 128, 1),
        ({"memory.max": str(256 * MEBIBYTE), "cpu.max": "150000 100000"}, 128, 2),
        ({"memory.max": str(256 * MEBIBYTE), "cpu.max": "50000 100000"}, 128, 1),
        (NOT_LIMITED, 128, 8),
        ({}, 128, 8),
        ({"memory/memory.limit_in_bytes": str(64 * MEBIBYTE), "cpu/cpu.cfs_quota_us": "-1"}, 128, 2),
        ({"memory/memory.limit_in_bytes": "9223372036854771712", "cpu/cpu.cfs_quota_us": "-1"}, 128, 8),
        ({"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"}, 128, 3),
    ],
)
def test_the_number_of_workers_follows_the_limits_of_the_container(
    tmp_path: Path, files: dict[str, str], cpus: int, expected: int
) -> None:
    assert workers(tmp_path, files, cpus)[0] == expected


@pytest.mark.parametrize("mebibytes", [64, 128, 256, 512, 2048])
@pytest.mark.parametrize("cpus", [1, 2, 8, 64, 128, 256])
def test_all_connections_of_all_workers_fit_into_the_memory(tmp_path: Path, mebibytes: int, cpus: int) -> None:
    limit = mebibytes * MEBIBYTE
    count, connections = workers(tmp_path, {"memory.max": str(limit)}, cpus)
    assert count * (MEBIBYTE + connections * BYTES_PER_CONNECTION) <= 0.6 * limit
    # At least as many as nginx's default, and no more than there are file descriptors for.
    assert 512 <= connections <= 8192


CHATS = 200
HANDSHAKE = (
    "GET /v1/responses HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    f"Cookie: parley_session={'c' * 300}\r\nUser-Agent: {'u' * 150}\r\n\r\n"
).encode()
UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def children(master: int) -> list[str]:
    return Path(f"/proc/{master}/task/{master}/children").read_text().split()


def memory(master: int) -> int:
    """The bytes of the master and its workers, pages that they share counted once."""
    rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in (master, *children(master))]
    return sum(int(size) * 1024 for text in rollups for size in re.findall(r"^Pss: +(\d+) kB", text, re.MULTILINE))


async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(UPGRADED + b"." * 8000)
    await reader.read()
    writer.close()


async def open_chats(port: int, count: int) -> list[asyncio.StreamWriter]:
    chats = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    for reader, writer in chats:
        writer.write(HANDSHAKE)
        assert (await reader.readline()).split()[1] == b"101"
    return [writer for _, writer in chats]


async def test_nginx_on_a_host_with_128_cpus_takes_as_much_memory_as_was_reckoned(tmp_path: Path) -> None:
    port, gateway, auth = free_ports(3)
    environment = {"NGINX_CPUS": "128", "NGINX_CGROUP": str(tmp_path / "no limits")}
    text = nginx.configuration(
        ROOT, tmp_path, port=port, gateway_ports=[gateway], auth_port=auth, environment=environment
    )
    (tmp_path / "nginx.conf").write_text(text)
    async with await asyncio.start_server(accept, "127.0.0.1", gateway):
        with running_nginx(tmp_path, port) as process:
            while len(children(process.pid)) < 8:
                await asyncio.sleep(0.02)
            assert memory(process.pid) < 0.1 * 256 * MEBIBYTE
            # The first requests of a worker touch pages that the later ones use too.
            writers = await open_chats(port, CHATS)
            before = memory(process.pid)
            writers += await open_chats(port, CHATS)
            assert memory(process.pid) - before < CHATS * 2 * BYTES_PER_CONNECTION
            for writer in writers:
                writer.close()
