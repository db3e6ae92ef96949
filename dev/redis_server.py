"""Redis as the product runs it: the options of compose.yaml and the users of secrets/users.acl."""

import hashlib
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent

# The options of compose.yaml without its paths; a test compares them.
OPTIONS = {
    "--protected-mode": "no",
    "--appendonly": "yes",
    "--appendfsync": "always",
    "--save": "",
    "--maxmemory": "1gb",
    "--maxmemory-policy": "noeviction",
}

# For tests and for redis-cli. Compose has no such user.
ADMIN_USER = "local-admin"


def users_acl(
    *, gateway_password: str, auth_service_password: str, guard_password: str, admin_password: str = ""
) -> str:
    """The content of Redis' ACL file, as secrets/prepare.sh writes it; with `admin_password`, also ADMIN_USER."""
    template = (_ROOT / "secrets/users.acl").read_text()
    users = [line for line in template.splitlines() if line and not line.startswith("#")]
    if admin_password:
        users.append(f"user {ADMIN_USER} on #{_sha256(admin_password)} ~* &* +@all")
    text = "".join(f"{line}\n" for line in users)
    text = text.replace("{gateway_password_sha256}", _sha256(gateway_password))
    text = text.replace("{auth_service_password_sha256}", _sha256(auth_service_password))
    return text.replace("{guard_password_sha256}", _sha256(guard_password))


def _sha256(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


def arguments(*, port: int, folder: Path, acl_file: Path) -> list[str]:
    """A server on the loopback interface with its data in `folder`."""
    local = {"--bind": "127.0.0.1", "--port": str(port), "--dir": str(folder), "--aclfile": str(acl_file)}
    return ["redis-server", *(part for option in (local | OPTIONS).items() for part in option)]


def guarded_arguments(*, port: int, folder: Path, acl_file: Path, password_file: Path) -> list[str]:
    """As `arguments`, with the guard of the disk beside the server."""
    start = ["sh", str(_ROOT / "secrets/start-redis.sh"), str(folder), str(port), str(password_file)]
    return [*start, *arguments(port=port, folder=folder, acl_file=acl_file)]
