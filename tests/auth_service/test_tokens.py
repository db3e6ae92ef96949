import re

import pytest

from auth_service.tokens import (
    ApiKey,
    Lifetime,
    Scope,
    Session,
    digest,
    is_api_key,
    is_session_token,
    new_api_key,
    new_session_token,
    same,
)


def test_tokens_hold_256_bits_and_never_repeat() -> None:
    tokens = {new_api_key() for _ in range(100)} | {new_session_token() for _ in range(100)}
    assert len(tokens) == 200
    assert all(re.fullmatch(r"(pk|ps)_[A-Za-z0-9_-]{43}", token) for token in tokens)


def test_a_session_token_is_never_taken_for_an_api_key() -> None:
    session, key = new_session_token(), new_api_key()
    assert is_session_token(session)
    assert is_api_key(key)
    assert not is_api_key(session)
    assert not is_session_token(key)


@pytest.mark.parametrize("token", ["", "pk_", "ps_" + "a" * 42, "pk_" + "a" * 100_000, "pk_" + "\u00e9" * 43])
def test_what_is_not_well_formed_is_neither(token: str) -> None:
    assert not is_api_key(token)
    assert not is_session_token(token)


def test_a_newline_at_the_end_is_not_overlooked() -> None:
    assert not is_api_key(new_api_key() + "\n")


def test_the_digest_does_not_contain_the_token() -> None:
    token = new_api_key()
    assert re.fullmatch("[0-9a-f]{64}", digest(token))
    assert digest(token) == digest(token) != digest(new_api_key())


def test_secrets_are_compared_whole() -> None:
    assert same("secret", "secret")
    assert not same("secret", "secre")
    assert not same("secret", "s\u00e9cret")
    assert not same("secret", "\udcff")


@pytest.mark.parametrize(("last_used_at", "ends_at"), [(0, 10), (85, 95), (95, 100)])
def test_a_session_ends_when_it_idles_and_at_the_latest_at_its_absolute_end(last_used_at: int, ends_at: int) -> None:
    session = Session("sess_1", "user_1", created_at=0, last_used_at=last_used_at, expires_at=100)
    assert session.ends_at(Lifetime(idle_seconds=10, absolute_seconds=100)) == ends_at


def test_an_api_key_expires_at_the_second_it_names_or_never() -> None:
    key = ApiKey("key_1", "user_1", "laptop", Scope.CHAT, created_at=0, expires_at=100)
    assert not key.expired(99)
    assert key.expired(100)
    assert not ApiKey("key_2", "user_1", "laptop", Scope.CHAT, created_at=0).expired(10**12)
