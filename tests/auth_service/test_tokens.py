"""Tests of auth_service.tokens."""

import re

import pytest

from auth_service.tokens import (
    ApiKey,
    Scope,
    Session,
    SessionLifetime,
    TokenKind,
    digest,
    display_prefix,
    equal_in_constant_time,
    new_credential,
    new_token,
    token_kind,
)


def test_tokens_hold_256_bits_and_never_repeat() -> None:
    tokens = {new_token(kind) for kind in TokenKind for _ in range(100)}
    assert len(tokens) == 600
    assert all(re.fullmatch(r"(ps|pk|ek|pi|pr|pb)_[A-Za-z0-9_-]{43}", token) for token in tokens)


@pytest.mark.parametrize("kind", TokenKind)
def test_a_token_has_exactly_the_kind_it_was_created_with(kind: TokenKind) -> None:
    assert token_kind(new_token(kind)) is kind


@pytest.mark.parametrize(
    "token", ["", "pk_", "ps_" + "a" * 42, "pk_" + "a" * 100_000, "pk_" + "\u00e9" * 43, "xx_" + "a" * 43, "a" * 46]
)
def test_a_malformed_token_has_no_kind(token: str) -> None:
    assert token_kind(token) is None


def test_a_trailing_newline_is_rejected() -> None:
    assert token_kind(new_token(TokenKind.API_KEY) + "\n") is None


def test_the_display_prefix_leaves_more_than_200_bits_secret() -> None:
    token = new_token(TokenKind.API_KEY)
    assert token.startswith(display_prefix(token))
    assert (len(token) - len(display_prefix(token))) * 6 > 200


def test_the_credential_of_a_password_has_the_format_of_a_digest() -> None:
    assert re.fullmatch("[0-9a-f]{64}", new_credential())
    assert new_credential() != new_credential()


def test_the_digest_does_not_contain_the_token() -> None:
    token = new_token(TokenKind.API_KEY)
    assert re.fullmatch("[0-9a-f]{64}", digest(token))
    assert digest(token) == digest(token) != digest(new_token(TokenKind.API_KEY))


def test_secrets_are_compared_completely() -> None:
    assert equal_in_constant_time("secret", "secret")
    assert not equal_in_constant_time("secret", "secre")
    assert not equal_in_constant_time("secret", "s\u00e9cret")
    assert not equal_in_constant_time("secret", "\udcff")


@pytest.mark.parametrize(("last_used_at", "ends_at"), [(0, 10), (85, 95), (95, 100)])
def test_a_session_ends_at_the_earlier_of_idle_and_absolute_timeout(last_used_at: int, ends_at: int) -> None:
    session = Session("sess_1", "user_1", created_at=0, last_used_at=last_used_at, expires_at=100)
    assert session.ends_at(SessionLifetime(idle_seconds=10, absolute_seconds=100)) == ends_at


def test_an_api_key_expires_at_its_exact_second_or_never() -> None:
    key = ApiKey("key_1", "user_1", "laptop", Scope.CHAT, created_at=0, expires_at=100)
    assert not key.is_expired(99)
    assert key.is_expired(100)
    assert not ApiKey("key_2", "user_1", "laptop", Scope.CHAT, created_at=0).is_expired(10**12)
