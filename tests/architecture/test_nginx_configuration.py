"""gixy reads the nginx configuration as it is shipped, with its includes: the container's and the local one."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dev.nginx import configuration, generate
from dev.stack import ROOT

GIXY = Path(sys.executable).with_name("gixy")
PROXIES = {"PARLEY_TRUSTED_PROXIES": "10.0.0.0/8, fd00::/8"}
INJECTION = 'location ~ "^/to/([^/]*)$" { return 302 https://example.org/$1; }\n'


def container(root: Path, folder: Path) -> Path:
    """The image has the folder nginx/ under /etc/nginx."""
    text = (root / "nginx/nginx.conf").read_text()
    for part in ("snippets", "upstreams"):
        text = text.replace(f"/etc/nginx/{part}/", f"{root}/nginx/{part}/")
    generate(root, folder / "generated", ["8080"], PROXIES)
    text = text.replace("/tmp/nginx/", f"{folder}/generated/")  # noqa: S108 - in the container
    return written(folder / "container.conf", text)


def local(root: Path, folder: Path) -> Path:
    text = configuration(root, folder, port=7777, gateway_ports=[8001, 8002], auth_port=8003, environment=PROXIES)
    return written(folder / "local.conf", text)


def written(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


def gixy(file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([GIXY, file], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("rendered", [container, local])
def test_gixy_finds_nothing(rendered: Callable[[Path, Path], Path], tmp_path: Path) -> None:
    done = gixy(rendered(ROOT, tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found." in done.stdout


@pytest.mark.parametrize("rendered", [container, local])
def test_gixy_reads_the_snippets(rendered: Callable[[Path, Path], Path], tmp_path: Path) -> None:
    shutil.copytree(ROOT / "nginx", tmp_path / "nginx")
    (tmp_path / "nginx/snippets/server/injection.conf").write_text(INJECTION)
    done = gixy(rendered(tmp_path, tmp_path))
    assert done.returncode != 0
    assert "HTTP-Splitting" in done.stdout
