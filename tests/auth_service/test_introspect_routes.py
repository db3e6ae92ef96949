import re

import pytest
from sqlalchemy import update

from auth_service.accounts import Account, Role
from auth_service.administration import Change
from auth_service.audit import COMMAND_LINE
from auth_service.store.database import Database
from auth_service.store.tables import accounts, api_keys, sessions
from auth_service.tokens import Scope, digest
from tests.auth_service.conftest import PASSWORD, Parley

INACTIVE = {"active": False}
HEX = re.compile("[0-9a-f]{64}")


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


async def test_an_api_key_is_introspected_as_its_user(parley: Parley) -> None:
    account = await parley.user()
    key = await parley.key()
    response = await parley.introspect(token=key, token_type_hint="access_token")
    assert response.status_code == 200
    assert response.json() == active(account, "api_key", digest(key))
    assert parley.hasher.operations == []


async def test_a_session_is_introspected_with_its_end(parley: Parley) -> None:
    account = await parley.user()
    token = (await parley.login()).cookies["parley_session"]
    answer = (await parley.introspect(token=token)).json()
    assert answer["exp"] > account.created_at
    del answer["exp"]
    assert answer == active(account, "session", digest(token))


async def test_after_log_out_the_session_is_inactive(parley: Parley) -> None:
    await parley.user()
    token = (await parley.login()).cookies["parley_session"]
    await parley.http.post("/auth/logout")
    assert (await parley.introspect(token=token)).json() == INACTIVE


@pytest.mark.parametrize(
    "token", ["", "nope", PASSWORD, "pk_" + "a" * 43, "ps_" + "a" * 43, "x" * 7000, "\x00", "pk_*"]
)
async def test_an_unknown_token_is_inactive_and_nothing_more_is_said(parley: Parley, token: str) -> None:
    await parley.user()
    response = await parley.introspect(token=token)
    assert response.status_code == 200
    assert response.json() == INACTIVE
    assert parley.hasher.operations == []


async def test_a_truncated_key_is_inactive(parley: Parley) -> None:
    await parley.user()
    key = await parley.key()
    for token in [key[:-1], key[3:], key.upper(), key + "a"]:
        assert (await parley.introspect(token=token)).json() == INACTIVE


async def test_a_token_of_100_kilobytes_is_refused_before_anything_is_done(parley: Parley) -> None:
    assert (await parley.introspect(token="x" * 100_000)).status_code == 413


async def test_with_a_user_name_the_password_of_that_user_is_active(parley: Parley) -> None:
    account = await parley.user("12345", "x" * 26)
    response = await parley.introspect(token="x" * 26, username="12345")
    assert HEX.fullmatch(response.json()["credential"])
    assert response.json() == active(account, "password", response.json()["credential"])
    assert parley.hasher.operations == ["verify"]


@pytest.mark.parametrize(
    ("username", "token"),
    [("alice", "wrong horse"), ("bob", PASSWORD), ("", PASSWORD), ("\u0430lice", PASSWORD), ("alice", "")],
)
async def test_with_a_user_name_every_wrong_password_costs_the_same_work(
    parley: Parley, username: str, token: str
) -> None:
    await parley.user()
    assert (await parley.introspect(token=token, username=username)).json() == INACTIVE
    assert parley.hasher.operations == ["verify"]


async def test_a_password_over_the_limit_is_inactive_without_hashing(parley: Parley) -> None:
    await parley.user()
    assert (await parley.introspect(token="x" * 129, username="alice")).json() == INACTIVE
    assert parley.hasher.operations == []


async def test_with_a_user_name_an_api_key_is_active_for_its_own_user_alone(parley: Parley) -> None:
    await parley.user("alice")
    await parley.user("bob")
    key = await parley.key()
    assert (await parley.introspect(token=key, username="ALICE")).json()["token_type"] == "api_key"
    assert (await parley.introspect(token=key, username="bob")).json() == INACTIVE
    assert (await parley.introspect(token=key, username="\u0430lice")).json() == INACTIVE


async def test_with_a_user_name_a_session_token_is_no_password(parley: Parley) -> None:
    await parley.user()
    token = (await parley.login()).cookies["parley_session"]
    assert (await parley.introspect(token=token, username="alice")).json() == INACTIVE


async def test_guessing_through_the_gateway_is_slowed_down_for_the_guessing_client_alone(parley: Parley) -> None:
    await parley.user()
    guess = {"username": "alice", "client_address": "198.51.100.7"}
    for _ in range(5):
        assert (await parley.introspect(token="wrong horse", **guess)).json() == INACTIVE
    refused = await parley.introspect(token=PASSWORD, **guess)
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "1"
    owner = await parley.introspect(token=PASSWORD, username="alice", client_address="192.0.2.9")
    assert owner.json()["active"]


async def test_guesses_at_the_page_and_through_the_gateway_count_together(parley: Parley) -> None:
    await parley.user()
    for _ in range(3):
        await parley.login(password="wrong horse")
        await parley.introspect(token="wrong horse", username="alice")
    assert (await parley.login()).status_code == 429


async def test_nothing_of_a_disabled_account_is_active(parley: Parley, database: Database) -> None:
    await parley.user()
    key = await parley.key()
    session = (await parley.login()).cookies["parley_session"]
    async with database.writing() as connection:
        await connection.execute(update(accounts).values(disabled=True))
    assert (await parley.introspect(token=key)).json() == INACTIVE
    assert (await parley.introspect(token=session)).json() == INACTIVE
    assert (await parley.introspect(token=PASSWORD, username="alice")).json() == INACTIVE


async def test_an_expired_key_is_inactive(parley: Parley, database: Database) -> None:
    await parley.user()
    key = await parley.key()
    async with database.writing() as connection:
        await connection.execute(update(api_keys).values(expires_at=2_000_000_000))
    assert (await parley.introspect(token=key)).json()["exp"] == 2_000_000_000
    async with database.writing() as connection:
        await connection.execute(update(api_keys).values(expires_at=1))
    assert (await parley.introspect(token=key)).json() == INACTIVE


async def test_an_administrators_key_dies_with_the_role(parley: Parley, database: Database) -> None:
    await parley.user("root", role=Role.ADMIN)
    key = await parley.key("root", Scope.ADMIN)
    assert (await parley.introspect(token=key)).json()["scope"] == "admin"
    async with database.writing() as connection:
        await connection.execute(update(accounts).values(role="user"))
    assert (await parley.introspect(token=key)).json() == INACTIVE


async def test_the_use_of_a_key_is_noted(parley: Parley, database: Database) -> None:
    await parley.user()
    key = await parley.key()
    await parley.introspect(token=key)
    async with database.reading() as connection:
        row = (await connection.execute(api_keys.select())).one()
    assert row.last_used_at >= row.created_at


async def test_limits_of_a_user_are_part_of_every_answer_and_the_deployments_own_are_absent(parley: Parley) -> None:
    alice = await parley.user()
    key = await parley.key()
    limits = {"messages_per_minute": 10, "tokens_per_day": 0}
    await parley.state["administration"].change(alice.id, Change(limits=limits), COMMAND_LINE)
    assert (await parley.introspect(token=key)).json()["limits"] == {"messages_per_minute": 10, "tokens_per_day": 0}


async def test_what_was_active_can_be_asked_about_again_without_its_secret(parley: Parley) -> None:
    await parley.user()
    session, key = await parley.session(), await parley.key()
    for form in [{"token": session}, {"token": key}, {"token": PASSWORD, "username": "alice"}]:
        first = (await parley.introspect(**form)).json()
        again = (await parley.introspect(credential=first["credential"])).json()
        assert again == first


async def test_a_credential_is_no_token_and_opens_nothing(parley: Parley) -> None:
    await parley.user()
    credential = (await parley.introspect(token=PASSWORD, username="alice")).json()["credential"]
    for opened_by in [credential, digest(await parley.session()), digest(await parley.key())]:
        assert (await parley.introspect(token=opened_by)).json() == INACTIVE
        assert (await parley.introspect(token=opened_by, username="alice")).json() == INACTIVE


@pytest.mark.parametrize("credential", ["", "x", "A" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n", "\x00" * 64])
async def test_a_credential_that_cannot_be_one_is_refused(parley: Parley, credential: str) -> None:
    response = await parley.introspect(credential=credential)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "credential"


async def test_a_credential_nobody_has_is_inactive(parley: Parley) -> None:
    assert (await parley.introspect(credential="a" * 64)).json() == INACTIVE


@pytest.mark.parametrize("beside", [{"token": "x"}, {"username": "alice"}])
async def test_a_credential_is_asked_about_alone(parley: Parley, beside: dict[str, str]) -> None:
    assert (await parley.introspect(credential="a" * 64, **beside)).status_code == 400


async def test_a_question_about_nothing_is_refused(parley: Parley) -> None:
    assert (await parley.introspect(token_type_hint="access_token")).json()["error"]["param"] == "token"


async def test_an_open_socket_alone_keeps_no_session_alive_and_a_request_on_it_does(
    parley: Parley, database: Database
) -> None:
    await parley.user()
    for token, table in [(await parley.session(), sessions), (await parley.key(), api_keys)]:
        credential = (await parley.introspect(token=token)).json()["credential"]
        async with database.writing() as connection:
            await connection.execute(update(table).values(last_used_at=table.c.created_at - 100))
        used = []
        for more in [{"recheck": "1"}, {}]:
            answer = await parley.introspect(credential=credential, **more)
            assert answer.json()["active"]
            async with database.reading() as connection:
                row = (await connection.execute(table.select())).one()
            used.append(row.last_used_at >= row.created_at)
        assert used == [False, True]


@pytest.mark.parametrize("form", [{"recheck": "0"}, {"recheck": ""}, {"recheck": "true"}])
async def test_a_recheck_is_one_or_none(parley: Parley, form: dict[str, str]) -> None:
    assert (await parley.introspect(credential="a" * 64, **form)).json()["error"]["param"] == "recheck"


async def test_what_is_checked_again_is_a_credential(parley: Parley) -> None:
    assert (await parley.introspect(token="x", recheck="1")).json()["error"]["param"] == "credential"
