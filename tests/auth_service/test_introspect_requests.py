"""Tests of auth_service.routes.forms and the requests of routes.introspect."""

import pytest

from tests.auth_service.conftest import CREDENTIAL, PASSWORD, Service, sqlite_only

pytestmark = sqlite_only

INACTIVE = {"active": False}


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Basic {CREDENTIAL}",
        f"Bearer {CREDENTIAL}x",
        f"Bearer {CREDENTIAL[:-1]}",
        CREDENTIAL,
    ],
)
async def test_a_request_without_the_introspection_credential_is_rejected(
    service: Service, authorization: str | None
) -> None:
    await service.add_user()
    headers = {} if authorization is None else {"Authorization": authorization}
    form = {"token": PASSWORD, "username": "alice"}
    response = await service.http.post("/introspect", data=form, headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["error"]["code"] == "invalid_introspection_credential"
    assert service.hasher.operations == []


async def test_a_users_own_key_is_not_the_introspection_credential(service: Service) -> None:
    await service.add_user()
    key = await service.create_key()
    headers = {"Authorization": f"Bearer {key}"}
    assert (await service.http.post("/introspect", data={"token": key}, headers=headers)).status_code == 401


async def test_an_unknown_parameter_is_rejected(service: Service) -> None:
    response = await service.introspect(token="x", user="alice")
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "user"


async def test_an_overlong_client_address_is_rejected(service: Service) -> None:
    response = await service.introspect(token="x", username="alice", client_address="1" * 65)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "client_address"


async def test_the_token_is_required(service: Service) -> None:
    response = await service.introspect(username="alice")
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "token"


async def test_an_empty_user_name_matches_nobody(service: Service) -> None:
    await service.add_user()
    key = await service.create_key()
    assert (await service.introspect(token=key, username="")).json() == INACTIVE


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("token=a&token=b", "invalid_value"),
        ("token", "invalid_form"),
        ("token=%ff", "invalid_form"),
        ("token=\u00e9", "invalid_form"),
        ("&&", "invalid_form"),
        ("", "missing_required_parameter"),
        ("&".join(f"a{number}=1" for number in range(900)), "unknown_parameter"),
    ],
)
async def test_a_malformed_or_ambiguous_form_is_rejected(service: Service, body: str, code: str) -> None:
    headers = {"Authorization": f"Bearer {CREDENTIAL}", "Content-Type": "application/x-www-form-urlencoded"}
    response = await service.http.post("/introspect", content=body, headers=headers)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == code


async def test_only_a_form_is_accepted(service: Service) -> None:
    headers = {"Authorization": f"Bearer {CREDENTIAL}"}
    for response in [
        await service.http.post("/introspect", json={"token": "x"}, headers=headers),
        await service.http.post("/introspect?token=x", headers=headers),
        await service.http.post("/introspect", files={"token": b"x"}, headers=headers),
    ]:
        assert response.status_code == 400
        assert response.json()["error"]["code"] == "invalid_form"
