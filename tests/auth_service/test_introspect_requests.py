import pytest

from tests.auth_service.conftest import CREDENTIAL, PASSWORD, Parley, on_sqlite

pytestmark = on_sqlite

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
async def test_without_the_introspection_credential_nothing_is_answered(
    parley: Parley, authorization: str | None
) -> None:
    await parley.user()
    headers = {} if authorization is None else {"Authorization": authorization}
    form = {"token": PASSWORD, "username": "alice"}
    response = await parley.http.post("/introspect", data=form, headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["error"]["code"] == "invalid_introspection_credential"
    assert parley.hasher.operations == []


async def test_a_users_own_key_is_not_the_introspection_credential(parley: Parley) -> None:
    await parley.user()
    key = await parley.key()
    headers = {"Authorization": f"Bearer {key}"}
    assert (await parley.http.post("/introspect", data={"token": key}, headers=headers)).status_code == 401


async def test_an_unknown_parameter_is_refused(parley: Parley) -> None:
    response = await parley.introspect(token="x", user="alice")
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "user"


async def test_an_address_longer_than_any_is_refused(parley: Parley) -> None:
    response = await parley.introspect(token="x", username="alice", client_address="1" * 65)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "client_address"


async def test_the_token_is_required(parley: Parley) -> None:
    response = await parley.introspect(username="alice")
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "token"


async def test_an_empty_user_name_is_nobodys_and_not_the_same_as_none(parley: Parley) -> None:
    await parley.user()
    key = await parley.key()
    assert (await parley.introspect(token=key, username="")).json() == INACTIVE


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
async def test_a_form_that_is_none_or_says_two_things_is_refused(parley: Parley, body: str, code: str) -> None:
    headers = {"Authorization": f"Bearer {CREDENTIAL}", "Content-Type": "application/x-www-form-urlencoded"}
    response = await parley.http.post("/introspect", content=body, headers=headers)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == code


async def test_only_a_form_is_read(parley: Parley) -> None:
    headers = {"Authorization": f"Bearer {CREDENTIAL}"}
    for response in [
        await parley.http.post("/introspect", json={"token": "x"}, headers=headers),
        await parley.http.post("/introspect?token=x", headers=headers),
        await parley.http.post("/introspect", files={"token": b"x"}, headers=headers),
    ]:
        assert response.status_code == 400
        assert response.json()["error"]["code"] == "invalid_form"
