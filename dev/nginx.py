"""nginx as a local process: the product's configuration with local paths and ports."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from dev.process import StartFailed

_LOCAL_SERVER = "server 127.0.0.1:{port} max_fails=0;"


def arguments(prefix: Path) -> list[str]:
    """To run it with the file `nginx.conf` in `prefix`."""
    # Debian installs it in /usr/sbin, which a user's PATH may lack.
    binary = shutil.which("nginx") or "/usr/sbin/nginx"
    files = ["-p", str(prefix), "-c", str(prefix / "nginx.conf"), "-e", str(prefix / "error.log")]
    return [binary, *files, "-g", "daemon off;"]


def configuration(
    root: Path,
    prefix: Path,
    *,
    port: int,
    gateway_ports: Sequence[int],
    auth_port: int,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Writes the included files into `prefix`. `environment` is that of the container. Raises StartFailed."""
    generated = prefix / "generated"
    addresses = [f"127.0.0.1:{port}", *([f"[::1]:{port}"] if _has_ipv6() else [])]
    generate(root, generated, addresses, environment or {})
    template = Template((root / "nginx/local.conf.template").read_text())
    return template.substitute(
        user_directive=_user_directive(),
        prefix=prefix,
        generated=generated,
        root=root / "frontend/dist",
        snippets=root / "nginx/snippets",
        gateway_servers=" ".join(_LOCAL_SERVER.format(port=one) for one in gateway_ports),
        auth_service_servers=_LOCAL_SERVER.format(port=auth_port),
    )


def generate(root: Path, folder: Path, addresses: Sequence[str], environment: Mapping[str, str]) -> None:
    """As when the container starts. Raises StartFailed with a sentence about an invalid value."""
    command = ["sh", str(root / "nginx/configure.sh"), str(folder), *addresses]
    done = subprocess.run(
        command, env={"PATH": "/usr/bin:/bin", **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise StartFailed(done.stderr.strip())


def _user_directive() -> str:
    """Without it, workers of a master that runs as root run as `nobody`, which cannot read a checkout in /root."""
    return f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""


def _has_ipv6() -> bool:
    return Path("/proc/net/if_inet6").exists() and Path("/proc/net/if_inet6").read_text() != ""
