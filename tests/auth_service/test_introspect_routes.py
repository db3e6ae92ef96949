"""Tests of auth_service.introspection and the responses of routes.introspect."""

import re

import pytest
from sqlalchemy import update

from auth_service.accounts import Account, Role
from auth_service.administration import AccountChange
from auth_service.audit import COMMAND_LINE
from auth_service.store.database import Database
from auth_service.store.tables import accounts, api_keys, sessions
from auth_service.tokens import Scope, digest
from tests.auth_service.conftest import PASSWORD, Service

INACTIVE = {"active": False}
CREDENTIAL_PATTERN = re.compile("[0-9a-f]{64}")


def active(account: Account, token_type: str, credential: str) -> dict[str, object]:
    return {
        "active": True,
        "sub": account.id,
        "username": account.name,
        "scope": "chat",
        "token_type": token_type,
        "credential": credential,
        "limits": {},
    }


async def test_an_api_key_is_introspected_as_its_user(service: Service) -> None:
    account = await service.add_user()
    key = await service.create_key()
    response = await service.introspect(token=key, token_type_hint="access_token")
    assert response.status_code == 200
    assert response.json() == active(account, "api_key", digest(key))
    assert service.hasher.operations == []


async def test_a_session_is_introspected_with_its_expiry(service: Service) -> None:
    account = await service.add_user()
    token = (await service.login()).cookies["parley_session"]
    answer = (await service.introspect(token=token)).json()
    assert answer["exp"] > account.created_at
    del answer["exp"]
    assert answer == active(account, "session", digest(token))


async def test_after_log_out_the_session_is_inactive(service: Service) -> None:
    await service.add_user()
    token = (await service.login()).cookies["parley_session"]
    await service.http.post("/auth/logout")
    assert (await service.introspect(token=token)).json() == INACTIVE


@pytest.mark.parametrize(
    "token", ["", "nope", PASSWORD, "pk_" + "a" * 43, "ps_" + "a" * 43, "x" * 7000, "\x00", "pk_*"]
)
async def test_an_unknown_token_is_inactive_without_details(service: Service, token: str) -> None:
    await service.add_user()
    response = await service.introspect(token=token)
    assert response.status_code == 200
    assert response.json() == INACTIVE
    assert service.hasher.operations == []


async def test_a_truncated_key_is_inactive(service: Service) -> None:
    await service.add_user()
    key = await service.create_key()
    for token in [key[:-1], key[3:], key.upper(), key + "a"]:
        assert (await service.introspect(token=token)).json() == INACTIVE


async def test_a_token_of_100_kilobytes_is_rejected(service: Service) -> None:
    assert (await service.introspect(token="x" * 100_000)).status_code == 413


async def test_a_password_is_active_with_its_user_name(service: Service) -> None:
    account = await service.add_user("12345", "x" * 26)
    response = await service.introspect(token="x" * 26, username="12345")
    assert CREDENTIAL_PATTERN.fullmatch(response.json()["credential"])
    assert response.json() == active(account, "password", response.json()["credential"])
    assert service.hasher.operations == ["verify"]


@pytest.mark.parametrize(
    ("username", "token"),
    [("alice", "wrong horse"), ("bob", PASSWORD), ("", PASSWORD), ("\u0430lice", PASSWORD), ("alice", "")],
)
async def test_every_wrong_password_costs_the_same_work(service: Service, username: str, token: str) -> None:
    await service.add_user()
    assert (await service.introspect(token=token, username=username)).json() == INACTIVE
    assert service.hasher.operations == ["verify"]


async def test_a_password_over_the_limit_is_inactive_without_hashing(service: Service) -> None:
    await service.add_user()
    assert (await service.introspect(token="x" * 129, username="alice")).json() == INACTIVE
    assert service.hasher.operations == []


async def test_an_api_key_is_active_only_with_its_own_user_name(service: Service) -> None:
    await service.add_user("alice")
    await service.add_user("bob")
    key = await service.create_key()
    assert (await service.introspect(token=key, username="ALICE")).json()["token_type"] == "api_key"
    assert (await service.introspect(token=key, username="bob")).json() == INACTIVE
    assert (await service.introspect(token=key, username="\u0430lice")).json() == INACTIVE


async def test_a_session_token_is_not_accepted_as_a_password(service: Service) -> None:
    await service.add_user()
    token = (await service.login()).cookies["parley_session"]
    assert (await service.introspect(token=token, username="alice")).json() == INACTIVE


async def test_guessing_through_the_gateway_throttles_only_the_guessing_client(service: Service) -> None:
    await service.add_user()
    guess = {"username": "alice", "client_address": "198.51.100.7"}
    for _ in range(5):
        assert (await service.introspect(token="wrong horse", **guess)).json() == INACTIVE
    refused = await service.introspect(token=PASSWORD, **guess)
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "1"
    owner = await service.introspect(token=PASSWORD, username="alice", client_address="192.0.2.9")
    assert owner.json()["active"]


async def test_guesses_through_the_page_and_through_the_gateway_are_counted_together(service: Service) -> None:
    await service.add_user()
    for _ in range(3):
        await service.login(password="wrong horse")
        await service.introspect(token="wrong horse", username="alice")
    assert (await service.login()).status_code == 429


async def test_no_credential_of_a_disabled_account_is_active(service: Service, database: Database) -> None:
    await service.add_user()
    key = await service.create_key()
    session = (await service.login()).cookies["parley_session"]
    async with database.write_transaction() as connection:
        await connection.execute(update(accounts).values(disabled=True))
    assert (await service.introspect(token=key)).json() == INACTIVE
    assert (await service.introspect(token=session)).json() == INACTIVE
    assert (await service.introspect(token=PASSWORD, username="alice")).json() == INACTIVE


async def test_an_expired_key_is_inactive(service: Service, database: Database) -> None:
    await service.add_user()
    key = await service.create_key()
    async with database.write_transaction() as connection:
        await connection.execute(update(api_keys).values(expires_at=2_000_000_000))
    assert (await service.introspect(token=key)).json()["exp"] == 2_000_000_000
    async with database.write_transaction() as connection:
        await connection.execute(update(api_keys).values(expires_at=1))
    assert (await service.introspect(token=key)).json() == INACTIVE


async def test_an_administrators_key_is_inactive_without_the_role(service: Service, database: Database) -> None:
    await service.add_user("root", role=Role.ADMIN)
    key = await service.create_key("root", Scope.ADMIN)
    assert (await service.introspect(token=key)).json()["scope"] == "admin"
    async with database.write_transaction() as connection:
        await connection.execute(update(accounts).values(role="user"))
    assert (await service.introspect(token=key)).json() == INACTIVE


async def test_introspection_updates_the_last_use_of_a_key(service: Service, database: Database) -> None:
    await service.add_user()
    key = await service.create_key()
    await service.introspect(token=key)
    async with database.read_transaction() as connection:
        row = (await connection.execute(api_keys.select())).one()
    assert row.last_used_at >= row.created_at


async def test_introspection_returns_the_users_limits_without_the_deployments_defaults(service: Service) -> None:
    alice = await service.add_user()
    key = await service.create_key()
    limits = {"messages_per_minute": 10, "tokens_per_day": 0}
    await service.state["administration"].change(alice.id, AccountChange(limits=limits), COMMAND_LINE)
    assert (await service.introspect(token=key)).json()["limits"] == {"messages_per_minute": 10, "tokens_per_day": 0}


async def test_an_active_token_can_be_checked_again_by_its_credential(service: Service) -> None:
    await service.add_user()
    session, key = await service.log_in_elsewhere(), await service.create_key()
    for form in [{"token": session}, {"token": key}, {"token": PASSWORD, "username": "alice"}]:
        first = (await service.introspect(**form)).json()
        again = (await service.introspect(credential=first["credential"])).json()
        assert again == first


async def test_a_credential_is_not_accepted_as_a_token(service: Service) -> None:
    await service.add_user()
    credential = (await service.introspect(token=PASSWORD, username="alice")).json()["credential"]
    for opened_by in [credential, digest(await service.log_in_elsewhere()), digest(await service.create_key())]:
        assert (await service.introspect(token=opened_by)).json() == INACTIVE
        assert (await service.introspect(token=opened_by, username="alice")).json() == INACTIVE


@pytest.mark.parametrize("credential", ["", "x", "A" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n", "\x00" * 64])
async def test_a_malformed_credential_is_rejected(service: Service, credential: str) -> None:
    response = await service.introspect(credential=credential)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "credential"


async def test_an_unknown_credential_is_inactive(service: Service) -> None:
    assert (await service.introspect(credential="a" * 64)).json() == INACTIVE


@pytest.mark.parametrize("beside", [{"token": "x"}, {"username": "alice"}])
async def test_a_credential_excludes_token_and_user_name(service: Service, beside: dict[str, str]) -> None:
    assert (await service.introspect(credential="a" * 64, **beside)).status_code == 400


async def test_a_request_without_a_token_is_rejected(service: Service) -> None:
    assert (await service.introspect(token_type_hint="access_token")).json()["error"]["param"] == "token"


async def test_a_recheck_does_not_count_as_use_and_another_introspection_does(
    service: Service, database: Database
) -> None:
    await service.add_user()
    for token, table in [(await service.log_in_elsewhere(), sessions), (await service.create_key(), api_keys)]:
        credential = (await service.introspect(token=token)).json()["credential"]
        async with database.write_transaction() as connection:
            await connection.execute(update(table).values(last_used_at=table.c.created_at - 100))
        used = []
        for more in [{"recheck": "1"}, {}]:
            answer = await service.introspect(credential=credential, **more)
            assert answer.json()["active"]
            async with database.read_transaction() as connection:
                row = (await connection.execute(table.select())).one()
            used.append(row.last_used_at >= row.created_at)
        assert used == [False, True]


@pytest.mark.parametrize("form", [{"recheck": "0"}, {"recheck": ""}, {"recheck": "true"}])
async def test_recheck_must_be_1_or_absent(service: Service, form: dict[str, str]) -> None:
    assert (await service.introspect(credential="a" * 64, **form)).json()["error"]["param"] == "recheck"


async def test_recheck_requires_a_credential(service: Service) -> None:
    assert (await service.introspect(token="x", recheck="1")).json()["error"]["param"] == "credential"
