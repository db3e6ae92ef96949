"""What users do with their own account."""

import json

import httpx2
import pytest

from auth_service.accounts import Role
from auth_service.audit import COMMAND_LINE, Action
from auth_service.tokens import Scope, digest
from tests.auth_service.conftest import GATEWAY, PASSWORD, Parley

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
INACTIVE = {"active": False}
NEW = "another horse battery"


async def change(parley: Parley, current: str = PASSWORD, new: str = NEW) -> tuple[int, object]:
    body = {"current_password": current, "new_password": new}
    response = await parley.http.post("/auth/password", json=body)
    return response.status_code, response.json()["error"]["code"] if response.content else None


async def active(parley: Parley, token: str) -> bool:
    return bool((await parley.introspect(token=token)).json()["active"])


async def test_sessions_are_listed_with_their_device_and_which_one_this_is(parley: Parley) -> None:
    await parley.user()
    await parley.session()
    parley.http.headers["User-Agent"] = FIREFOX
    await parley.login()
    answer = (await parley.http.get("/auth/sessions")).json()
    assert answer["object"] == "list"
    assert {(one["device"], one["current"]) for one in answer["data"]} == {
        ("Firefox, Linux", True),
        ("python-httpx2", False),
    }
    assert all(one["created_at"] <= one["last_used_at"] < one["expires_at"] for one in answer["data"])


async def test_one_session_is_revoked_and_no_other(parley: Parley) -> None:
    await parley.user()
    lost, kept = await parley.session(), await parley.session()
    await parley.login()
    sessions = (await parley.http.get("/auth/sessions")).json()["data"]
    ids = {one["id"]: one for one in sessions}
    lost_id = next(
        one.id
        for one in await parley.state["sessions"].of_account(await account_id(parley))
        if one.credential == digest(lost)
    )
    assert lost_id in ids
    assert (await parley.http.delete(f"/auth/sessions/{lost_id}")).status_code == 204
    assert [await active(parley, token) for token in (lost, kept)] == [False, True]
    assert (await parley.http.get("/auth/me")).status_code == 200


async def test_all_other_sessions_are_revoked_at_once(parley: Parley) -> None:
    await parley.user()
    others = [await parley.session() for _ in range(3)]
    await parley.login()
    assert (await parley.http.delete("/auth/sessions")).status_code == 204
    assert [await active(parley, token) for token in others] == [False] * 3
    assert (await parley.http.get("/auth/me")).status_code == 200


async def test_a_foreign_session_or_key_and_none_at_all_answer_the_same(parley: Parley) -> None:
    await parley.user("alice")
    await parley.user("bob")
    await parley.session("bob")
    await parley.key("bob")
    bob = (await parley.state["administration"].named("bob")).id
    [session], [key] = await parley.state["sessions"].of_account(bob), await parley.state["keys"].of_account(bob)
    await parley.login("alice")
    for kind, foreign in [("sessions", session.id), ("keys", key.id)]:
        answers = [
            await parley.http.delete(f"/auth/{kind}/{one}")
            for one in [foreign, foreign[:-32] + "0" * 32, "*", "x" * 5000, "%00", "..%2f..", "1", "%0d%0a"]
        ]
        assert {answer.status_code for answer in answers} == {404}
        assert len({answer.text for answer in answers[:3]}) == 1
    assert await parley.state["sessions"].of_account(bob) == [session]
    assert await parley.state["keys"].of_account(bob) == [key]


async def test_a_key_is_shown_once_and_listed_by_its_beginning(parley: Parley) -> None:
    await parley.user()
    await parley.login()
    made = (await parley.http.post("/auth/keys", json={"name": "laptop", "expires_at": 2_000_000_000})).json()
    assert (await parley.introspect(token=made["key"])).json()["exp"] == 2_000_000_000
    [listed] = (await parley.http.get("/auth/keys")).json()["data"]
    assert "key" not in listed
    assert made["key"].startswith(listed["prefix"])
    assert listed["last_used_at"] is not None
    assert listed == {name: value for name, value in made.items() if name != "key"} | {
        "last_used_at": listed["last_used_at"]
    }
    assert (await parley.http.delete(f"/auth/keys/{listed['id']}")).status_code == 204
    assert (await parley.introspect(token=made["key"])).json() == INACTIVE


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
async def test_a_key_nobody_could_use_or_tell_apart_is_not_made(parley: Parley, body: dict[str, object]) -> None:
    await parley.user()
    await parley.login()
    content = json_of(body)
    response = await parley.http.post("/auth/keys", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    assert (await parley.http.get("/auth/keys")).json()["data"] == []


async def test_a_user_has_a_hundred_keys_at_most(parley: Parley) -> None:
    await parley.user()
    for _ in range(100):
        await parley.key()
    await parley.login()
    response = await parley.http.post("/auth/keys", json={"name": "one more"})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "unsuitable_key")


async def test_a_key_manages_no_account(parley: Parley) -> None:
    await parley.user()
    parley.http.headers["Authorization"] = f"Bearer {await parley.key()}"
    for method, path in [("GET", "/auth/me"), ("GET", "/auth/keys"), ("POST", "/auth/keys"), ("GET", "/auth/sessions")]:
        response = await parley.http.request(method, path, json={"name": "more"} if method == "POST" else None)
        assert response.status_code == 401


async def test_a_new_password_ends_every_other_session_and_what_the_old_one_opened_but_no_key(parley: Parley) -> None:
    await parley.user()
    other, key = await parley.session(), await parley.key()
    old = (await parley.introspect(token=PASSWORD, username="alice")).json()["credential"]
    await parley.login()
    assert await change(parley) == (204, None)
    assert not await active(parley, other)
    assert (await parley.introspect(credential=old)).json() == INACTIVE
    assert await active(parley, key)
    assert (await parley.http.get("/auth/me")).status_code == 200
    assert (await parley.login(password=PASSWORD)).status_code == 401
    assert (await parley.login(password=NEW)).status_code == 200
    assert Action.PASSWORD_CHANGED in await parley.actions()


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
async def test_a_refused_change_changes_nothing(parley: Parley, current: str, new: str, code: str) -> None:
    await parley.user()
    other = await parley.session()
    await parley.login()
    assert await change(parley, current, new) == (400, code)
    assert await active(parley, other)
    assert (await parley.login()).status_code == 200


async def test_guessing_the_current_password_of_an_open_session_is_slowed_down(parley: Parley) -> None:
    await parley.user()
    await parley.login()
    for _ in range(5):
        await change(parley, "wrong horse")
    assert (await change(parley))[0] == 429


async def test_a_ticket_is_redeemed_once_as_what_it_was_made_with(parley: Parley) -> None:
    await parley.user()
    session, key = await parley.session(), await parley.key()
    for headers, made_with in [
        ({"Cookie": f"parley_session={session}"}, session),
        ({"Authorization": f"Bearer {key}"}, key),
    ]:
        made = (await parley.http.post("/auth/tickets", headers=headers)).json()
        assert made["ticket"].startswith("ek_")
        first = (await parley.introspect(token=made["ticket"])).json()
        assert first["token_type"] == "ticket"
        assert first["credential"] == digest(made_with)
        assert (await parley.introspect(token=made["ticket"])).json() == INACTIVE
        # What the socket is checked by from then on.
        assert (await parley.introspect(credential=first["credential"])).json()["active"]


async def test_a_ticket_is_worth_no_more_than_what_it_was_made_with(parley: Parley) -> None:
    await parley.user()
    await parley.login()
    ticket = (await parley.http.post("/auth/tickets")).json()["ticket"]
    await parley.http.post("/auth/logout")
    assert (await parley.introspect(token=ticket)).json() == INACTIVE


async def test_a_ticket_is_neither_a_session_nor_a_key_nor_a_password(parley: Parley) -> None:
    await parley.user()
    await parley.login()
    ticket = (await parley.http.post("/auth/tickets")).json()["ticket"]
    assert (await parley.introspect(token=ticket, username="alice")).json() == INACTIVE
    for headers in [{"Authorization": f"Bearer {ticket}"}, {"Cookie": f"parley_session={ticket}"}]:
        parley.http.cookies.clear()
        assert (await parley.http.post("/auth/tickets", headers=headers)).status_code == 401


async def test_a_key_that_is_wrong_is_not_made_up_for_by_a_cookie(parley: Parley) -> None:
    await parley.user()
    await parley.login()
    for authorization in ["Bearer pk_" + "a" * 43, "Bearer", "", f"Basic {await parley.key()}"]:
        response = await parley.http.post("/auth/tickets", headers={"Authorization": authorization})
        assert response.status_code == 401


async def test_a_reset_link_makes_a_password_once_and_ends_every_session(parley: Parley) -> None:
    alice = await parley.user()
    session, key = await parley.session(), await parley.key()
    older = await reset_token(parley, alice.id)
    token = await reset_token(parley, alice.id)
    for used, status, code in [(older, 400, "invalid_link"), (token, 204, None), (token, 400, "invalid_link")]:
        response = await parley.http.post("/auth/reset", json={"token": used, "password": NEW})
        assert response.status_code == status
        assert code is None or response.json()["error"]["code"] == code
    assert [await active(parley, one) for one in (session, key)] == [False, True]
    assert (await parley.login(password=NEW)).status_code == 200


async def test_a_reset_link_survives_a_password_that_is_refused(parley: Parley) -> None:
    alice = await parley.user()
    token = await reset_token(parley, alice.id)
    for password, status in [("short", 400), ("aliceali", 400), (NEW, 204)]:
        assert (
            await parley.http.post("/auth/reset", json={"token": token, "password": password})
        ).status_code == status


@pytest.mark.parametrize("token", ["", "pr_" + "a" * 43, "pi_" + "a" * 43, "x" * 5000, "\x00"])
async def test_a_forged_reset_link_costs_no_hashing(parley: Parley, token: str) -> None:
    response = await parley.http.post("/auth/reset", json={"token": token, "password": NEW})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_link")
    assert parley.hasher.operations == []


async def test_what_was_revoked_by_the_gateway_is_over(parley: Parley) -> None:
    await parley.user()
    await parley.login()
    session, key = await parley.session(), await parley.key()
    ticket = (await parley.http.post("/auth/tickets")).json()["ticket"]
    for token in [session, key, ticket, session, "nonsense", "\x00", ""]:
        assert await revoke(parley, token) == 200
        assert (await parley.introspect(token=token)).json() == INACTIVE
    assert (await parley.http.get("/auth/me")).status_code == 200


async def test_only_the_gateway_revokes(parley: Parley) -> None:
    await parley.user()
    key = await parley.key()
    response = await parley.http.post("/revoke", data={"token": key}, headers={"Authorization": f"Bearer {key}"})
    assert response.status_code == 401
    assert await active(parley, key)


async def test_a_key_with_the_scope_admin_needs_an_administrator(parley: Parley) -> None:
    await parley.user("root", role=Role.ADMIN)
    await parley.login("root")
    made = (await parley.http.post("/auth/keys", json={"name": "deploy", "scope": "admin"})).json()
    assert (await parley.introspect(token=made["key"])).json()["scope"] == Scope.ADMIN


async def leave(parley: Parley, password: str = PASSWORD) -> httpx2.Response:
    return await parley.http.request("DELETE", "/auth/me", json={"current_password": password})


async def test_users_delete_their_own_account_and_nothing_of_it_opens_anything(parley: Parley) -> None:
    await parley.user("root", role=Role.ADMIN)
    alice = await parley.user()
    other, key = await parley.session(), await parley.key()
    await parley.login()
    answer = await leave(parley)
    assert answer.status_code == 204
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert [await active(parley, token) for token in (other, key)] == [False, False]
    # The gateway is told until the conversations are gone too.
    assert [one["sub"] for one in (await parley.http.get("/deletions", headers=GATEWAY)).json()["data"]] == [alice.id]
    [last] = await parley.state["administration"].audit(1, None)
    assert (last.actor, last.action, last.subject) == (alice.id, Action.USER_DELETED, alice.id)
    assert (await parley.login()).status_code == 401


@pytest.mark.parametrize(
    ("password", "code"),
    [("wrong horse", "wrong_password"), ("", "wrong_password"), ("x" * 129, "unsuitable_password")],
)
async def test_an_open_session_alone_deletes_no_account(parley: Parley, password: str, code: str) -> None:
    await parley.user("root", role=Role.ADMIN)
    await parley.user()
    await parley.login()
    refused = await leave(parley, password)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, code)
    assert (await parley.http.request("DELETE", "/auth/me")).status_code == 400
    assert (await parley.http.get("/auth/me")).status_code == 200


async def test_the_last_administrator_stays(parley: Parley) -> None:
    await parley.user("root", role=Role.ADMIN)
    await parley.user()
    await parley.login("root")
    refused = await leave(parley)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "last_administrator")
    await parley.user("second", role=Role.ADMIN)
    assert (await leave(parley)).status_code == 204


async def account_id(parley: Parley) -> str:
    return str((await parley.http.get("/auth/me")).json()["id"])


async def reset_token(parley: Parley, user_id: str) -> str:
    return (await parley.state["links"].reset(user_id, COMMAND_LINE)).token


async def revoke(parley: Parley, token: str) -> int:
    return (await parley.http.post("/revoke", data={"token": token}, headers=GATEWAY)).status_code


def json_of(body: dict[str, object]) -> bytes:
    return json.dumps(body).replace("Infinity", "1e400").encode()
