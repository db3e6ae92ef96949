"""Tests of dev.nginx and of the script that it runs, nginx/configure.sh."""

import subprocess
from pathlib import Path

import pytest

from dev import nginx
from dev.process import StartFailed
from dev.stack import ROOT

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
