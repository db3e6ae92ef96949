"""Tests of auth_service.openid_logins, openid_flow and routes.openid with a real provider."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import httpx2
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from auth_service.accounts import Role
from auth_service.administration import AccountChange
from auth_service.audit import COMMAND_LINE, Action
from auth_service.settings import Settings
from tests.auth_service import openid
from tests.auth_service.conftest import PASSWORD, Service, running, sqlite_only
from tests.auth_service.fakes import CountingHasher
from tests.auth_service.openid import PARLEY, log_in_at_provider


@pytest.fixture(scope="module")
async def issuer() -> AsyncGenerator[str]:
    async with openid.provider() as issuer:
        yield issuer


@pytest.fixture
def configured(settings: Settings, issuer: str) -> Settings:
    return settings.model_copy(
        update={
            "openid_issuer": issuer,
            "openid_client_id": "parley",
            "openid_client_secret": SecretStr("canary-of-the-client"),
            "openid_name": "Example",
            "public_url": PARLEY,
        }
    )


@dataclass(frozen=True)
class OpenidClient:
    service: Service

    async def begin(self) -> str:
        """Returns the URL of the redirect to the provider."""
        answer = await self.service.http.get("/auth/openid/login")
        assert answer.status_code == 303
        return str(answer.headers["location"])

    async def callback(self, **query: str) -> str:
        """Returns the URL of the redirect after the callback."""
        answer = await self.service.http.get("/auth/openid/callback", params=query)
        assert answer.status_code == 303
        assert answer.headers["cache-control"] == "no-store"
        return str(answer.headers["location"])

    async def log_in(self, name: str) -> str:
        return await self.callback(**await log_in_at_provider(await self.begin(), name))

    async def me(self) -> dict[str, Any] | None:
        answer = await self.service.http.get("/auth/me")
        return answer.json() if answer.status_code == 200 else None


@pytest.fixture
async def client(configured: Settings, hasher: CountingHasher) -> AsyncGenerator[OpenidClient]:
    """With openid_create_accounts, and an administrator named root."""
    async with running(configured.model_copy(update={"openid_create_accounts": True}), hasher) as service:
        await service.add_user("root", role=Role.ADMIN)
        yield OpenidClient(service)


async def test_options_contain_the_label_of_the_button(client: OpenidClient) -> None:
    assert (await client.service.http.get("/auth/options")).json()["openid"] == "Example"


async def test_the_first_log_in_creates_an_account_and_the_second_finds_it(client: OpenidClient) -> None:
    assert await client.log_in("alice") == "/"
    me = await client.me()
    assert me is not None
    assert (me["username"], me["role"]) == ("alice", "user")
    await client.service.http.post("/auth/logout")
    assert await client.log_in("alice") == "/"
    assert await client.me() == me
    assert (await client.service.audit_actions()).count(Action.OPENID_LINKED) == 1
    assert (await client.service.login("alice", "")).status_code == 401


async def test_the_first_account_created_by_openid_is_an_administrator(
    configured: Settings, hasher: CountingHasher
) -> None:
    async with running(configured.model_copy(update={"openid_create_accounts": True}), hasher) as service:
        client = OpenidClient(service)
        assert await client.log_in("alice") == "/"
        assert (await client.me() or {})["role"] == "admin"
        await service.http.post("/auth/logout")
        assert await client.log_in("bob") == "/"
        assert (await client.me() or {})["role"] == "user"


async def test_every_refused_log_in_is_audited(client: OpenidClient) -> None:
    async def last() -> tuple[str | None, Action, str | None, str | None]:
        [entry] = await client.service.state["administration"].list_audit(1, None)
        return entry.actor, entry.action, entry.subject, entry.address

    await client.log_in("alice")
    me = await client.me()
    assert me is not None
    refused = (None, Action.LOGIN_REFUSED, None, "192.0.2.1")
    await client.callback(code="x", state="y")
    assert await last() == refused
    state = parse_qs(urlsplit(await client.begin()).query)["state"][0]
    before = await client.service.audit_actions()
    await client.callback(error="access_denied", state=state)
    assert await client.service.audit_actions() == [*before, Action.LOGIN_REFUSED]
    await client.service.state["administration"].change(me["id"], AccountChange(disabled=True), COMMAND_LINE)
    await client.log_in("alice")
    assert await last() == (None, Action.LOGIN_REFUSED, me["id"], "192.0.2.1")


@sqlite_only
async def test_a_database_failure_during_the_callback_redirects_to_the_page_with_its_code(client: OpenidClient) -> None:
    back = await log_in_at_provider(await client.begin(), "alice")
    async with client.service.state["stores"].database.write_transaction() as connection:
        await connection.execute(text("ALTER TABLE identities RENAME TO hidden"))
    assert await client.callback(**back) == "/#login-error=openid_unavailable"


async def test_a_name_that_is_taken_gets_a_suffix(client: OpenidClient) -> None:
    root = (await client.service.login("root", PASSWORD)).json()
    await client.service.http.post("/auth/logout")
    await client.log_in("root")
    me = await client.me()
    assert me is not None
    assert me["id"] != root["id"]
    assert me["username"].startswith("root-")
    assert me["role"] == "user"


async def test_the_authorization_request_contains_no_secret_of_the_browser(client: OpenidClient) -> None:
    sent = parse_qs(urlsplit(await client.begin()).query)
    cookie = client.service.http.cookies["parley_openid"]
    assert sent["code_challenge_method"] == ["S256"]
    assert sent["response_type"] == ["code"]
    assert {"state", "nonce", "code_challenge"} <= sent.keys()
    assert all(cookie not in value for values in sent.values() for value in values)


@pytest.mark.parametrize("query", [{"code": "x"}, {"code": "x", "state": "y"}, {"state": ""}, {"code": "x" * 5000}])
async def test_a_callback_without_a_matching_state_is_refused(client: OpenidClient, query: dict[str, str]) -> None:
    await client.begin()
    assert await client.callback(**query) == "/#login-error=openid_state"
    assert await client.me() is None


async def test_a_callback_in_another_browser_is_refused(client: OpenidClient) -> None:
    back = await log_in_at_provider(await client.begin(), "alice")
    client.service.http.cookies.clear()
    assert await client.callback(**back) == "/#login-error=openid_state"


async def test_a_callback_succeeds_once(client: OpenidClient) -> None:
    back = await log_in_at_provider(await client.begin(), "alice")
    secret = client.service.http.cookies["parley_openid"]
    assert await client.callback(**back) == "/"
    client.service.http.cookies.clear()
    assert await client.callback(**back) == "/#login-error=openid_state"
    client.service.http.cookies["parley_openid"] = secret
    assert await client.callback(**back) == "/#login-error=openid_refused"


async def test_a_stolen_code_cannot_be_used_in_another_log_in(client: OpenidClient) -> None:
    """PKCE: the provider compares the challenge of the code with the verifier of the client that redeems it."""
    stolen = (await log_in_at_provider(await client.begin(), "alice"))["code"]
    state = parse_qs(urlsplit(await client.begin()).query)["state"][0]
    assert await client.callback(code=stolen, state=state) == "/#login-error=openid_refused"
    assert await client.me() is None


async def test_an_id_token_made_for_another_log_in_is_refused(client: OpenidClient) -> None:
    """The authorization request has another nonce here, as if the ID token were replayed from an earlier log-in."""
    parts = urlsplit(await client.begin())
    query = {key: value[0] for key, value in parse_qs(parts.query).items()} | {"nonce": "another"}
    back = await log_in_at_provider(urlunsplit(parts._replace(query=urlencode(query))), "alice")
    assert await client.callback(**back) == "/#login-error=openid_refused"
    assert await client.me() is None


async def test_an_error_of_the_provider_redirects_to_the_page(client: OpenidClient) -> None:
    state = parse_qs(urlsplit(await client.begin()).query)["state"][0]
    assert await client.callback(error="access_denied", state=state) == "/#login-error=openid_refused"


async def test_by_default_an_unlinked_subject_is_refused(configured: Settings, hasher: CountingHasher) -> None:
    async with running(configured, hasher) as service:
        await service.add_user("alice")
        assert await OpenidClient(service).log_in("alice") == "/#login-error=openid_no_account"


async def test_an_account_is_linked_by_email_only_if_allowed_and_verified_by_the_provider(
    configured: Settings, hasher: CountingHasher
) -> None:
    for allowed, name, expected in [
        (False, "alice", "/#login-error=openid_no_account"),
        (True, "mallory", "/#login-error=openid_no_account"),
        (True, "alice", "/"),
    ]:
        async with running(configured.model_copy(update={"openid_link_by_email": allowed}), hasher) as service:
            if not allowed:
                body = {"username": "root", "password": PASSWORD}
                await service.http.post("/auth/register", json=body)
                more = {"username": "lee", "password": PASSWORD, "email": "Alice@example.org"}
                assert (await service.http.post("/auth/admin/users", json=more)).status_code == 200
                await service.http.post("/auth/logout")
            assert await OpenidClient(service).log_in(name) == expected
            me = await OpenidClient(service).me()
            assert (me and me["username"]) == ("lee" if expected == "/" else None)


async def test_an_unverified_email_address_is_not_stored(client: OpenidClient) -> None:
    await client.log_in("mallory")
    account = await client.service.state["administration"].get_by_name("mallory")
    assert account.email is None


async def test_a_disabled_account_cannot_log_in_through_the_provider(client: OpenidClient) -> None:
    await client.log_in("alice")
    me = await client.me()
    assert me is not None
    await client.service.login("root")
    await client.service.http.patch(f"/auth/admin/users/{me['id']}", json={"disabled": True})
    await client.service.http.post("/auth/logout")
    assert await client.log_in("alice") == "/#login-error=openid_no_account"


@pytest.mark.parametrize("wrong", ["http://127.0.0.1:1", "http://localhost:{port}", "{issuer}/nowhere"])
async def test_an_unavailable_or_mismatched_provider_redirects_to_the_page_with_its_code(
    configured: Settings, hasher: CountingHasher, issuer: str, wrong: str
) -> None:
    changed = wrong.format(issuer=issuer, port=httpx2.URL(issuer).port)
    async with running(configured.model_copy(update={"openid_issuer": changed}), hasher) as service:
        assert await OpenidClient(service).begin() == "/#login-error=openid_unavailable"


async def test_no_code_and_no_secret_is_in_the_log(client: OpenidClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", logger="auth_service"):
        back = await log_in_at_provider(await client.begin(), "alice")
        secret = client.service.http.cookies["parley_openid"]
        await client.callback(code=back["code"], state="wrong")
        state = parse_qs(urlsplit(await client.begin()).query)["state"][0]
        await client.callback(code=back["code"], state=state)
    written = "".join(str(vars(record)) for record in caplog.records if record.name.startswith("auth_service"))
    assert "openid login refused" in written
    for canary in [back["code"], secret, "canary-of-the-client"]:
        assert canary not in written
