import re

import pytest

from auth_service.tokens import (
    ApiKey,
    Kind,
    Lifetime,
    Scope,
    Session,
    digest,
    kind_of,
    new_credential,
    new_token,
    same,
    shown_of,
)


def test_tokens_hold_256_bits_and_never_repeat() -> None:
    tokens = {new_token(kind) for kind in Kind for _ in range(100)}
    assert len(tokens) == 600
    assert all(re.fullmatch(r"(ps|pk|ek|pi|pr|pb)_[A-Za-z0-9_-]{43}", token) for token in tokens)


@pytest.mark.parametrize("kind", Kind)
def test_a_token_is_of_the_kind_it_was_made_for_and_of_no_other(kind: Kind) -> None:
    assert kind_of(new_token(kind)) is kind


@pytest.mark.parametrize(
    "token", ["", "pk_", "ps_" + "a" * 42, "pk_" + "a" * 100_000, "pk_" + "\u00e9" * 43, "xx_" + "a" * 43, "a" * 46]
)
def test_what_is_not_well_formed_is_of_no_kind(token: str) -> None:
    assert kind_of(token) is None


def test_a_newline_at_the_end_is_not_overlooked() -> None:
    assert kind_of(new_token(Kind.API_KEY) + "\n") is None


def test_what_is_shown_of_a_key_again_leaves_more_than_200_bits_to_guess() -> None:
    token = new_token(Kind.API_KEY)
    assert token.startswith(shown_of(token))
    assert (len(token) - len(shown_of(token))) * 6 > 200


def test_the_credential_of_a_password_has_the_shape_of_a_digest() -> None:
    assert re.fullmatch("[0-9a-f]{64}", new_credential())
    assert new_credential() != new_credential()


def test_the_digest_does_not_contain_the_token() -> None:
    token = new_token(Kind.API_KEY)
    assert re.fullmatch("[0-9a-f]{64}", digest(token))
    assert digest(token) == digest(token) != digest(new_token(Kind.API_KEY))


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
