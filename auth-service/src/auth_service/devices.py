"""Describes a User-Agent in words that users recognize in a list of their sessions."""

import re
from typing import Final

_MAX_LENGTH: Final = 64
# The order matters: Edge and Opera also send Chrome's token, and Chrome also sends Safari's.
_BROWSERS: Final = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)
_PRODUCT: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)  # RFC 9110, 10.1.5


def describe_device(user_agent: str) -> str:
    """Returns, for example, "Firefox, Linux"; empty if the client does not identify itself."""
    browser = _first_match(_BROWSERS, user_agent)
    system = _first_match(_SYSTEMS, user_agent)
    if browser and system:
        return f"{browser}, {system}"
    product = _PRODUCT.match(user_agent)
    return product[0][:_MAX_LENGTH] if product else ""


def _first_match(names: tuple[tuple[str, str], ...], user_agent: str) -> str | None:
    return next((name for token, name in names if token in user_agent), None)
