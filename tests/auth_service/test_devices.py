"""Tests of auth_service.devices."""

import pytest

from auth_service.devices import describe_device

SAFARI = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Version/18.5 Safari/604.1"
EDGE = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0"


@pytest.mark.parametrize(
    ("user_agent", "words"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox, Linux"),
        ("Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36", "Chrome, Android"),
        (SAFARI, "Safari, iPhone"),
        (EDGE, "Edge, Windows"),
        ("curl/8.5.0", "curl"),
        ("", ""),
        ("\x00<script>", ""),
        ("x" * 5000, "x" * 64),
        ("\u674e/1.0", ""),
    ],
)
def test_a_user_agent_is_described_by_browser_and_system(user_agent: str, words: str) -> None:
    assert describe_device(user_agent) == words
