"""nginx as a local process: the product's configuration with local paths and ports."""

import os
import pwd
import shutil
from collections.abc import Sequence
from pathlib import Path
from string import Template

_LOCAL_SERVER = "server 127.0.0.1:{port} max_fails=0;"


def binary() -> str:
    """Debian installs it in /usr/sbin, which a user's PATH may lack."""
    return shutil.which("nginx") or "/usr/sbin/nginx"


def configuration(root: Path, prefix: Path, *, port: int, gateway_ports: Sequence[int], auth_port: int) -> str:
    template = Template((root / "nginx/local.conf.template").read_text())
    return template.substitute(
        user_directive=_user_directive(),
        prefix=prefix,
        listen=f"listen 127.0.0.1:{port} default_server; listen [::1]:{port} default_server;"
        if _has_ipv6()
        else f"listen 127.0.0.1:{port} default_server;",
        root=root / "frontend/dist",
        snippets=root / "nginx/snippets",
        gateway_servers=" ".join(_LOCAL_SERVER.format(port=one) for one in gateway_ports),
        auth_service_servers=_LOCAL_SERVER.format(port=auth_port),
    )


def _user_directive() -> str:
    """Without it, workers of a master that runs as root run as `nobody`, which cannot read a checkout in /root."""
    return f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""


def _has_ipv6() -> bool:
    return Path("/proc/net/if_inet6").exists() and Path("/proc/net/if_inet6").read_text() != ""
