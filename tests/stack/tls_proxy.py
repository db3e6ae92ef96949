"""A proxy in front of the stack, as an operator runs one: nginx with a self-signed certificate."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import httpx2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dev import nginx
from dev.ports import free_port
from dev.process import Command, Process

# The proxy's address as nginx sees it.
ADDRESS = "127.0.0.9"
HOST = "chat.test"

_CONFIGURATION = """
worker_processes 1;
pid {folder}/nginx.pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    map $http_upgrade $connection_header {{
        default upgrade;
        "" close;
    }}
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {folder}/certificate.pem;
        ssl_certificate_key {folder}/key.pem;
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_bind {address};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_header;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
}}
"""


@dataclass(frozen=True)
class TlsProxy:
    port: int
    tls: ssl.SSLContext

    def client(self, address: str) -> httpx2.AsyncClient:
        """A browser at another address, which sends the public name as Host."""
        transport = httpx2.AsyncHTTPTransport(verify=self.tls, local_address=address)
        url = f"https://127.0.0.1:{self.port}"
        return httpx2.AsyncClient(base_url=url, transport=transport, headers={"Host": HOST}, timeout=60)


@contextmanager
def tls_proxy(folder: Path, upstream: int) -> Iterator[TlsProxy]:
    port = free_port()
    certificate = write_certificate(folder)
    written = _CONFIGURATION.format(folder=folder, port=port, upstream=upstream, address=ADDRESS)
    (folder / "nginx.conf").write_text(written)
    tls = ssl.create_default_context(cafile=str(certificate))
    with running_nginx(folder, port):
        yield TlsProxy(port, tls)


def write_certificate(folder: Path) -> Path:
    """Self-signed, for 127.0.0.1."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
    signed = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    private = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(*private))
    (folder / "certificate.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    return folder / "certificate.pem"


@contextmanager
def running_nginx(folder: Path, port: int) -> Iterator[Process]:
    """With the file `nginx.conf` in `folder`."""

    def listens() -> bool:
        with socket.create_connection(("127.0.0.1", port), timeout=2):
            return True

    process = Process(Command("nginx", nginx.arguments(folder), listens, port), folder / "log", folder)
    process.start()
    try:
        process.wait_ready()
        yield process
    finally:
        process.stop()
