"""Tests of auth_service.routes.own_account and its use cases: api_keys, tickets, one_time_links, password_changes."""

import json

import httpx2
import pytest

from auth_service.accounts import Role
from auth_service.audit import COMMAND_LINE, Action
from auth_service.tokens import Scope, digest
from tests.auth_service.conftest import GATEWAY, PASSWORD, Service

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
INACTIVE = {"active": False}
NEW = "another horse battery"


async def change(service: Service, current: str = PASSWORD, new: str = NEW) -> tuple[int, object]:
    body = {"current_password": current, "new_password": new}
    response = await service.http.post("/auth/password", json=body)
    return response.status_code, response.json()["error"]["code"] if response.content else None


async def is_active(service: Service, token: str) -> bool:
    return bool((await service.introspect(token=token)).json()["active"])


async def test_sessions_are_listed_with_their_device_and_the_current_one_is_marked(service: Service) -> None:
    await service.add_user()
    await service.log_in_elsewhere()
    service.http.headers["User-Agent"] = FIREFOX
    await service.login()
    answer = (await service.http.get("/auth/sessions")).json()
    assert answer["object"] == "list"
    assert {(one["device"], one["current"]) for one in answer["data"]} == {
        ("Firefox, Linux", True),
        ("python-httpx2", False),
    }
    assert all(one["created_at"] <= one["last_used_at"] < one["expires_at"] for one in answer["data"])


async def test_revoking_one_session_keeps_the_others(service: Service) -> None:
    await service.add_user()
    revoked, kept = await service.log_in_elsewhere(), await service.log_in_elsewhere()
    await service.login()
    sessions = (await service.http.get("/auth/sessions")).json()["data"]
    ids = {one["id"]: one for one in sessions}
    revoked_id = next(
        one.id
        for one in await service.state["sessions"].list_by_account(await account_id(service))
        if one.credential == digest(revoked)
    )
    assert revoked_id in ids
    assert (await service.http.delete(f"/auth/sessions/{revoked_id}")).status_code == 204
    assert [await is_active(service, token) for token in (revoked, kept)] == [False, True]
    assert (await service.http.get("/auth/me")).status_code == 200


async def test_all_other_sessions_are_revoked_with_one_request(service: Service) -> None:
    await service.add_user()
    others = [await service.log_in_elsewhere() for _ in range(3)]
    await service.login()
    assert (await service.http.delete("/auth/sessions")).status_code == 204
    assert [await is_active(service, token) for token in others] == [False] * 3
    assert (await service.http.get("/auth/me")).status_code == 200


async def test_a_foreign_session_or_key_is_answered_like_an_unknown_one(service: Service) -> None:
    await service.add_user("alice")
    await service.add_user("bob")
    await service.log_in_elsewhere("bob")
    await service.create_key("bob")
    bob = (await service.state["administration"].get_by_name("bob")).id
    [session], [key] = (
        await service.state["sessions"].list_by_account(bob),
        await service.state["keys"].list_by_account(bob),
    )
    await service.login("alice")
    for kind, foreign in [("sessions", session.id), ("keys", key.id)]:
        answers = [
            await service.http.delete(f"/auth/{kind}/{one}")
            for one in [foreign, foreign[:-32] + "0" * 32, "*", "x" * 5000, "%00", "..%2f..", "1", "%0d%0a"]
        ]
        assert {answer.status_code for answer in answers} == {404}
        assert len({answer.text for answer in answers[:3]}) == 1
    assert await service.state["sessions"].list_by_account(bob) == [session]
    assert await service.state["keys"].list_by_account(bob) == [key]


async def test_a_key_is_shown_once_and_listed_by_its_prefix(service: Service) -> None:
    await service.add_user()
    await service.login()
    created = (await service.http.post("/auth/keys", json={"name": "laptop", "expires_at": 2_000_000_000})).json()
    assert (await service.introspect(token=created["key"])).json()["exp"] == 2_000_000_000
    [listed] = (await service.http.get("/auth/keys")).json()["data"]
    assert "key" not in listed
    assert created["key"].startswith(listed["prefix"])
    assert listed["last_used_at"] is not None
    assert listed == {name: value for name, value in created.items() if name != "key"} | {
        "last_used_at": listed["last_used_at"]
    }
    assert (await service.http.delete(f"/auth/keys/{listed['id']}")).status_code == 204
    assert (await service.introspect(token=created["key"])).json() == INACTIVE


@pytest.mark.parametrize(
    "body",
    [
        {"name": ""},
        {"name": "x" * 65},
        {"name": "two\nlines"},
        {"name": "laptop", "scope": "admin"},
        {"name": "laptop", "scope": "root"},
        {"name": "laptop", "expires_at": 1},
        {"name": "laptop", "expires_at": "soon"},
        {"name": "laptop", "expires_at": 1e400},
        {"name": "laptop", "expires_at": 2**64},
        {"name": "laptop", "key": "pk_mine"},
        {"name": "\ud800"},
        {},
    ],
    ids=str,
)
async def test_an_invalid_key_is_not_created(service: Service, body: dict[str, object]) -> None:
    await service.add_user()
    await service.login()
    content = encode_json(body)
    response = await service.http.post("/auth/keys", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    assert (await service.http.get("/auth/keys")).json()["data"] == []


async def test_a_user_has_at_most_a_hundred_keys(service: Service) -> None:
    await service.add_user()
    async with service.state["stores"].database.write_transaction():  # one commit instead of a hundred
        for _ in range(100):
            await service.create_key()
    await service.login()
    response = await service.http.post("/auth/keys", json={"name": "one more"})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "unsuitable_key")


async def test_a_key_does_not_authorize_changes_of_the_account(service: Service) -> None:
    await service.add_user()
    service.http.headers["Authorization"] = f"Bearer {await service.create_key()}"
    for method, path in [("GET", "/auth/me"), ("GET", "/auth/keys"), ("POST", "/auth/keys"), ("GET", "/auth/sessions")]:
        response = await service.http.request(method, path, json={"name": "more"} if method == "POST" else None)
        assert response.status_code == 401


async def test_a_new_password_revokes_other_sessions_and_the_old_password_but_no_key(service: Service) -> None:
    await service.add_user()
    other, key = await service.log_in_elsewhere(), await service.create_key()
    old = (await service.introspect(token=PASSWORD, username="alice")).json()["credential"]
    await service.login()
    assert await change(service) == (204, None)
    assert not await is_active(service, other)
    assert (await service.introspect(credential=old)).json() == INACTIVE
    assert await is_active(service, key)
    assert (await service.http.get("/auth/me")).status_code == 200
    assert (await service.login(password=PASSWORD)).status_code == 401
    assert (await service.login(password=NEW)).status_code == 200
    assert Action.PASSWORD_CHANGED in await service.audit_actions()


@pytest.mark.parametrize(
    ("current", "new", "code"),
    [
        ("wrong horse", NEW, "wrong_password"),
        (PASSWORD, "short", "unsuitable_password"),
        (PASSWORD, "x" * 129, "unsuitable_password"),
        (PASSWORD, "password123", "unsuitable_password"),
        ("x" * 129, NEW, "unsuitable_password"),
    ],
)
async def test_a_rejected_password_change_changes_nothing(service: Service, current: str, new: str, code: str) -> None:
    await service.add_user()
    other = await service.log_in_elsewhere()
    await service.login()
    assert await change(service, current, new) == (400, code)
    assert await is_active(service, other)
    assert (await service.login()).status_code == 200


async def test_guessing_the_current_password_in_a_session_is_throttled(service: Service) -> None:
    await service.add_user()
    await service.login()
    for _ in range(5):
        await change(service, "wrong horse")
    assert (await change(service))[0] == 429


async def test_a_ticket_is_redeemed_once_for_the_credential_that_requested_it(service: Service) -> None:
    await service.add_user()
    session, key = await service.log_in_elsewhere(), await service.create_key()
    for headers, requested_with in [
        ({"Cookie": f"parley_session={session}"}, session),
        ({"Authorization": f"Bearer {key}"}, key),
    ]:
        created = (await service.http.post("/auth/tickets", headers=headers)).json()
        assert created["ticket"].startswith("ek_")
        first = (await service.introspect(token=created["ticket"])).json()
        assert first["token_type"] == "ticket"
        assert first["credential"] == digest(requested_with)
        assert (await service.introspect(token=created["ticket"])).json() == INACTIVE
        # The gateway rechecks the socket by this credential.
        assert (await service.introspect(credential=first["credential"])).json()["active"]


async def test_a_ticket_is_inactive_once_its_session_has_ended(service: Service) -> None:
    await service.add_user()
    await service.login()
    ticket = (await service.http.post("/auth/tickets")).json()["ticket"]
    await service.http.post("/auth/logout")
    assert (await service.introspect(token=ticket)).json() == INACTIVE


async def test_a_ticket_is_not_accepted_as_a_session_a_key_or_a_password(service: Service) -> None:
    await service.add_user()
    await service.login()
    ticket = (await service.http.post("/auth/tickets")).json()["ticket"]
    assert (await service.introspect(token=ticket, username="alice")).json() == INACTIVE
    for headers in [{"Authorization": f"Bearer {ticket}"}, {"Cookie": f"parley_session={ticket}"}]:
        service.http.cookies.clear()
        assert (await service.http.post("/auth/tickets", headers=headers)).status_code == 401


async def test_an_invalid_key_is_rejected_even_with_a_valid_cookie(service: Service) -> None:
    await service.add_user()
    await service.login()
    for authorization in ["Bearer pk_" + "a" * 43, "Bearer", "", f"Basic {await service.create_key()}"]:
        response = await service.http.post("/auth/tickets", headers={"Authorization": authorization})
        assert response.status_code == 401


async def test_a_reset_link_sets_a_password_once_and_revokes_all_sessions(service: Service) -> None:
    alice = await service.add_user()
    session, key = await service.log_in_elsewhere(), await service.create_key()
    older = await reset_token(service, alice.id)
    token = await reset_token(service, alice.id)
    for used, status, code in [(older, 400, "invalid_link"), (token, 204, None), (token, 400, "invalid_link")]:
        response = await service.http.post("/auth/reset", json={"token": used, "password": NEW})
        assert response.status_code == status
        assert code is None or response.json()["error"]["code"] == code
    assert [await is_active(service, one) for one in (session, key)] == [False, True]
    assert (await service.login(password=NEW)).status_code == 200


async def test_a_rejected_password_does_not_use_up_the_reset_link(service: Service) -> None:
    alice = await service.add_user()
    token = await reset_token(service, alice.id)
    for password, status in [("short", 400), ("aliceali", 400), (NEW, 204)]:
        assert (
            await service.http.post("/auth/reset", json={"token": token, "password": password})
        ).status_code == status


@pytest.mark.parametrize("token", ["", "pr_" + "a" * 43, "pi_" + "a" * 43, "x" * 5000, "\x00"])
async def test_a_forged_reset_link_is_rejected_before_hashing(service: Service, token: str) -> None:
    response = await service.http.post("/auth/reset", json={"token": token, "password": NEW})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_link")
    assert service.hasher.operations == []


async def test_tokens_revoked_by_the_gateway_are_inactive(service: Service) -> None:
    await service.add_user()
    await service.login()
    session, key = await service.log_in_elsewhere(), await service.create_key()
    ticket = (await service.http.post("/auth/tickets")).json()["ticket"]
    for token in [session, key, ticket, session, "nonsense", "\x00", ""]:
        assert await revoke(service, token) == 200
        assert (await service.introspect(token=token)).json() == INACTIVE
    assert (await service.http.get("/auth/me")).status_code == 200


async def test_only_the_gateway_may_revoke_tokens(service: Service) -> None:
    await service.add_user()
    key = await service.create_key()
    response = await service.http.post("/revoke", data={"token": key}, headers={"Authorization": f"Bearer {key}"})
    assert response.status_code == 401
    assert await is_active(service, key)


async def test_an_administrator_may_create_a_key_with_the_scope_admin(service: Service) -> None:
    await service.add_user("root", role=Role.ADMIN)
    await service.login("root")
    created = (await service.http.post("/auth/keys", json={"name": "deploy", "scope": "admin"})).json()
    assert (await service.introspect(token=created["key"])).json()["scope"] == Scope.ADMIN


async def delete_account(service: Service, password: str = PASSWORD) -> httpx2.Response:
    return await service.http.request("DELETE", "/auth/me", json={"current_password": password})


async def test_deleting_ones_own_account_revokes_all_its_credentials(service: Service) -> None:
    await service.add_user("root", role=Role.ADMIN)
    alice = await service.add_user()
    other, key = await service.log_in_elsewhere(), await service.create_key()
    await service.login()
    answer = await delete_account(service)
    assert answer.status_code == 204
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert [await is_active(service, token) for token in (other, key)] == [False, False]
    # Pending until a gateway confirms that the conversations are deleted.
    assert [one["sub"] for one in (await service.http.get("/deletions", headers=GATEWAY)).json()["data"]] == [alice.id]
    [last] = await service.state["administration"].list_audit(1, None)
    assert (last.actor, last.action, last.subject) == (alice.id, Action.USER_DELETED, alice.id)
    assert (await service.login()).status_code == 401


@pytest.mark.parametrize(
    ("password", "code"),
    [("wrong horse", "wrong_password"), ("", "wrong_password"), ("x" * 129, "unsuitable_password")],
)
async def test_deleting_an_account_requires_the_password(service: Service, password: str, code: str) -> None:
    await service.add_user("root", role=Role.ADMIN)
    await service.add_user()
    await service.login()
    refused = await delete_account(service, password)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, code)
    assert (await service.http.request("DELETE", "/auth/me")).status_code == 400
    assert (await service.http.get("/auth/me")).status_code == 200


async def test_the_last_administrator_cannot_delete_the_account(service: Service) -> None:
    await service.add_user("root", role=Role.ADMIN)
    await service.add_user()
    await service.login("root")
    refused = await delete_account(service)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "last_administrator")
    await service.add_user("second", role=Role.ADMIN)
    assert (await delete_account(service)).status_code == 204


async def account_id(service: Service) -> str:
    return str((await service.http.get("/auth/me")).json()["id"])


async def reset_token(service: Service, user_id: str) -> str:
    return (await service.state["links"].create_reset(user_id, COMMAND_LINE)).token


async def revoke(service: Service, token: str) -> int:
    return (await service.http.post("/revoke", data={"token": token}, headers=GATEWAY)).status_code


def encode_json(body: dict[str, object]) -> bytes:
    return json.dumps(body).replace("Infinity", "1e400").encode()
