"""Tests of auth_service.routes.admin, and of routes.principal, routes.ids and routes.resources through it."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute

from auth_service.accounts import Role
from auth_service.app import create_app
from auth_service.audit import Action
from auth_service.routes.introspect import require_gateway
from auth_service.routes.openid import router as openid_router
from auth_service.routes.origin import require_same_origin
from auth_service.routes.principal import require_administrator
from auth_service.settings import Settings
from auth_service.tokens import Scope
from tests.auth_service.conftest import GATEWAY, PASSWORD, Service, sqlite_only

SAFE = {"GET", "HEAD", "OPTIONS"}
UNKNOWN_USER = "user_" + "0" * 32


@pytest.fixture
async def root(service: Service) -> Service:
    """The service with an administrator logged in."""
    await service.add_user("root", role=Role.ADMIN)
    await service.login("root")
    return service


def routes(settings: Settings) -> Iterator[APIRoute]:
    for included in create_app(settings).routes:
        if router := getattr(included, "original_router", None):
            yield from (route for route in router.routes if isinstance(route, APIRoute))


def has_dependency(route: APIRoute, dependency: object) -> bool:
    pending = [route.dependant]
    while pending:
        dependant = pending.pop()
        if dependant.call is dependency:
            return True
        pending += dependant.dependencies
    return False


@sqlite_only
def test_every_administration_route_depends_on_require_administrator(settings: Settings) -> None:
    admin = [route for route in routes(settings) if route.path.startswith("/auth/admin")]
    assert len(admin) == 11
    assert [route.path for route in admin if not has_dependency(route, require_administrator)] == []


@sqlite_only
def test_every_route_that_changes_state_requires_the_same_origin_or_the_gateways_credential(
    settings: Settings,
) -> None:
    changing = [route for route in routes(settings) if not (route.methods or SAFE) <= SAFE]
    assert len(changing) > 15
    assert [
        route.path
        for route in changing
        if not has_dependency(route, require_same_origin) and not has_dependency(route, require_gateway)
    ] == []


@sqlite_only
async def test_administration_routes_reject_everybody_else(service: Service, settings: Settings) -> None:
    await service.add_user("root", role=Role.ADMIN)
    await service.add_user("alice")
    admin_chat, alice = await service.create_key("root", Scope.CHAT), await service.create_key("alice")
    session = {"Cookie": f"parley_session={await service.log_in_elsewhere('alice')}"}
    bearers = [{"Authorization": f"Bearer {key}"} for key in (admin_chat, alice)]
    for route in routes(settings):
        if route.path.startswith("/auth/admin"):
            method, path = next(iter(route.methods or SAFE)), route.path.replace("{id}", UNKNOWN_USER)
            for headers, status in [({}, 401), (session, 403), *((one, 403) for one in bearers), (GATEWAY, 401)]:
                assert (await service.http.request(method, path, headers=headers)).status_code == status, path


async def test_a_key_with_the_scope_admin_authorizes_administration(service: Service) -> None:
    await service.add_user("root", role=Role.ADMIN)
    key = await service.create_key("root", Scope.ADMIN)
    response = await service.http.get("/auth/admin/users", headers={"Authorization": f"Bearer {key}"})
    assert [user["username"] for user in response.json()["data"]] == ["root"]


async def test_a_user_is_created_changed_and_deleted(root: Service) -> None:
    http = root.http
    body: dict[str, Any] = {"username": "Bob", "password": PASSWORD, "email": "Bob@example.org"}
    created = (await http.post("/auth/admin/users", json=body)).json()
    assert created == {
        "id": created["id"],
        "object": "user",
        "username": "bob",
        "role": "user",
        "disabled": False,
        "created_at": created["created_at"],
        "email": "bob@example.org",
        "limits": {"messages_per_minute": None, "concurrent_answers": None, "tokens_per_day": None},
        "reset": None,
    }
    path = f"/auth/admin/users/{created['id']}"
    change = {"role": "admin", "email": None, "limits": {"messages_per_minute": 5, "tokens_per_day": 1000}}
    changed = (await http.patch(path, json=change)).json()
    assert (changed["role"], changed["email"]) == ("admin", None)
    changed = (await http.patch(path, json={"limits": {"tokens_per_day": None}})).json()
    assert changed["limits"] == {"messages_per_minute": 5, "concurrent_answers": None, "tokens_per_day": None}
    assert (await http.get(path)).json() == changed
    assert (await http.delete(path)).status_code == 204
    assert (await http.get(path)).status_code == (await http.delete(path)).status_code == 404


async def test_concurrent_changes_of_different_limits_are_all_kept(root: Service) -> None:
    alice = await root.add_user("alice")
    path, names = f"/auth/admin/users/{alice.id}", ["messages_per_minute", "concurrent_answers", "tokens_per_day"]
    await asyncio.gather(*(root.http.patch(path, json={"limits": {name: 7}}) for name in names))
    assert (await root.http.get(path)).json()["limits"] == dict.fromkeys(names, 7)


async def test_a_user_created_without_a_password_sets_one_with_the_reset_link(root: Service) -> None:
    created = (await root.http.post("/auth/admin/users", json={"username": "bob"})).json()
    assert (await root.http.post("/auth/login", json={"username": "bob", "password": ""})).status_code == 401
    token = created["reset"]["link"].partition("/#reset=")[2]
    assert (await root.http.post("/auth/reset", json={"token": token, "password": PASSWORD})).status_code == 204
    assert (await root.login("bob")).status_code == 200


async def test_disabling_a_user_deactivates_sessions_and_keys_until_the_user_is_enabled_again(root: Service) -> None:
    alice = await root.add_user("alice")
    session, key = await root.log_in_elsewhere(), await root.create_key()
    path = f"/auth/admin/users/{alice.id}"
    for disabled, active in [(True, False), (False, True)]:
        assert (await root.http.patch(path, json={"disabled": disabled})).json()["disabled"] is disabled
        assert [(await root.introspect(token=one)).json()["active"] for one in (session, key)] == [active, active]
    await root.http.patch(path, json={"disabled": True})
    refused = await root.http.post("/auth/login", json={"username": "alice", "password": PASSWORD})
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_credentials")


async def test_an_administrator_revokes_all_sessions_of_a_user(root: Service) -> None:
    alice = await root.add_user("alice")
    sessions = [await root.log_in_elsewhere() for _ in range(2)]
    assert (await root.http.delete(f"/auth/admin/users/{alice.id}/sessions")).status_code == 204
    assert [(await root.introspect(token=one)).json()["active"] for one in sessions] == [False, False]


async def test_a_reset_link_is_only_in_the_response_that_created_it(root: Service) -> None:
    alice = await root.add_user("alice")
    created = (await root.http.post(f"/auth/admin/users/{alice.id}/reset")).json()
    token = created["link"].partition("/#reset=")[2]
    assert created["object"] == "reset"
    assert (await root.http.post("/auth/reset", json={"token": token, "password": "new horse"})).status_code == 204
    assert token not in (await root.http.get("/auth/admin/audit")).text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"role": "root"}, 400),
        ({"disabled": "yes"}, 400),
        ({"disabled": 1}, 400),
        ({"name": "bob"}, 400),
        ({"limits": {"messages_per_minute": -1}}, 400),
        ({"limits": {"messages_per_minute": 1.5}}, 400),
        ({"limits": {"messages_per_minute": 2**64}}, 400),
        ({"limits": {"messages": 1}}, 400),
        ({"limits": []}, 400),
        ({"email": "nowhere"}, 400),
        ({"email": "a\x00@example.org"}, 400),
        ({"role": "user"}, 409),
        ({"disabled": True}, 409),
    ],
    ids=str,
)
async def test_an_invalid_change_changes_nothing(root: Service, body: dict[str, Any], status: int) -> None:
    path = f"/auth/admin/users/{(await root.http.get('/auth/me')).json()['id']}"
    before = (await root.http.get(path)).json()
    assert (await root.http.patch(path, json=body)).status_code == status
    assert (await root.http.get(path)).json() == before


@pytest.mark.parametrize("user_id", ["*", "x" * 5000, "%00", "user_1", "user_" + "A" * 32, UNKNOWN_USER, "..%2fme"])
async def test_a_malformed_id_is_answered_like_an_unknown_one(root: Service, user_id: str) -> None:
    for method, path in [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/reset"), ("DELETE", "/sessions")]:
        body: dict[str, Any] | None = {} if method == "PATCH" else None
        response = await root.http.request(method, f"/auth/admin/users/{user_id}{path}", json=body)
        assert response.status_code == 404


async def test_lists_are_paginated(root: Service) -> None:
    for name in ["alice", "bob"]:
        await root.add_user(name)
    first = (await root.http.get("/auth/admin/users?limit=2")).json()
    assert ([user["username"] for user in first["data"]], first["has_more"]) == (["alice", "bob"], True)
    rest = (await root.http.get(f"/auth/admin/users?limit=2&after={first['last_id']}")).json()
    assert ([user["username"] for user in rest["data"]], rest["has_more"]) == (["root"], False)
    entries = (await root.http.get("/auth/admin/audit?limit=2")).json()
    older = (await root.http.get(f"/auth/admin/audit?limit=100&after={entries['last_id']}")).json()
    ids = [int(entry["id"]) for entry in [*entries["data"], *older["data"]]]
    assert ids == sorted(ids, reverse=True)


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "limit=1e400", "after=%00", "after=' OR 1=1"])
async def test_invalid_pagination_parameters_are_rejected_or_return_an_empty_page(root: Service, query: str) -> None:
    assert (await root.http.get(f"/auth/admin/users?{query}")).status_code in {200, 400}
    assert (await root.http.get(f"/auth/admin/audit?{query}")).status_code == 400


async def test_an_audit_entry_contains_actor_action_subject_and_address(root: Service) -> None:
    alice = await root.add_user("alice")
    await root.http.patch(f"/auth/admin/users/{alice.id}", json={"disabled": True})
    me = (await root.http.get("/auth/me")).json()["id"]
    entry = (await root.http.get("/auth/admin/audit?limit=1")).json()["data"][0]
    assert entry == {
        "id": entry["id"],
        "object": "audit_entry",
        "at": entry["at"],
        "actor": me,
        "action": "user_disabled",
        "subject": alice.id,
        "address": "192.0.2.1",
    }


async def test_a_deletion_is_listed_until_the_gateway_confirms_it(root: Service) -> None:
    alice = await root.add_user("alice")
    await root.http.delete(f"/auth/admin/users/{alice.id}")
    [pending] = (await root.http.get("/deletions", headers=GATEWAY)).json()["data"]
    assert pending["sub"] == alice.id
    assert (await root.http.get("/deletions")).status_code == 401
    for _ in range(2):
        assert (await root.http.delete(f"/deletions/{alice.id}", headers=GATEWAY)).status_code == 204
    assert (await root.http.get("/deletions", headers=GATEWAY)).json()["data"] == []
    assert (await root.audit_actions())[-1] is Action.USER_DELETED


@sqlite_only
async def test_without_a_provider_the_openid_routes_do_not_exist(service: Service) -> None:
    assert len(openid_router.routes) == 2
    assert (await service.http.get("/auth/options")).json()["openid"] is None
    for path in ["/auth/openid/login", "/auth/openid/callback?state=x&code=y"]:
        assert (await service.http.get(path)).status_code == 404
