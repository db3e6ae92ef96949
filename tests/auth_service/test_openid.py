"""Log-in at a real provider, and every way in which it must fail."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import httpx2
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from auth_service.accounts import Role
from auth_service.administration import Change
from auth_service.audit import COMMAND_LINE, Action
from auth_service.settings import Settings
from tests.auth_service import openid
from tests.auth_service.conftest import PASSWORD, Parley, on_sqlite, running
from tests.auth_service.fakes import CountingHasher
from tests.auth_service.openid import PARLEY, log_in_there


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
class House:
    parley: Parley

    async def begin(self) -> str:
        """Where the browser is sent."""
        answer = await self.parley.http.get("/auth/openid/login")
        assert answer.status_code == 303
        return str(answer.headers["location"])

    async def come_back(self, **query: str) -> str:
        """Where the browser is sent then."""
        answer = await self.parley.http.get("/auth/openid/callback", params=query)
        assert answer.status_code == 303
        assert answer.headers["cache-control"] == "no-store"
        return str(answer.headers["location"])

    async def log_in(self, name: str) -> str:
        return await self.come_back(**await log_in_there(await self.begin(), name))

    async def me(self) -> dict[str, Any] | None:
        answer = await self.parley.http.get("/auth/me")
        return answer.json() if answer.status_code == 200 else None


@pytest.fixture
async def house(configured: Settings, hasher: CountingHasher) -> AsyncGenerator[House]:
    """Where whoever the provider lets in gets an account."""
    async with running(configured.model_copy(update={"openid_create_accounts": True}), hasher) as parley:
        await parley.user("root", role=Role.ADMIN)
        yield House(parley)


async def test_the_page_learns_what_its_button_says(house: House) -> None:
    assert (await house.parley.http.get("/auth/options")).json()["openid"] == "Example"


async def test_the_first_log_in_makes_an_account_and_the_second_finds_it(house: House) -> None:
    assert await house.log_in("alice") == "/"
    me = await house.me()
    assert me is not None
    assert (me["username"], me["role"]) == ("alice", "user")
    await house.parley.http.post("/auth/logout")
    assert await house.log_in("alice") == "/"
    assert await house.me() == me
    assert (await house.parley.actions()).count(Action.OPENID_LINKED) == 1
    assert (await house.parley.login("alice", "")).status_code == 401


async def test_the_first_account_is_an_administrators_by_whichever_way_it_comes(
    configured: Settings, hasher: CountingHasher
) -> None:
    async with running(configured.model_copy(update={"openid_create_accounts": True}), hasher) as parley:
        house = House(parley)
        assert await house.log_in("alice") == "/"
        assert (await house.me() or {})["role"] == "admin"
        await parley.http.post("/auth/logout")
        assert await house.log_in("bob") == "/"
        assert (await house.me() or {})["role"] == "user"


async def test_every_refused_log_in_is_in_the_audit_log(house: House) -> None:
    async def last() -> tuple[str | None, Action, str | None, str | None]:
        [entry] = await house.parley.state["administration"].audit(1, None)
        return entry.actor, entry.action, entry.subject, entry.address

    await house.log_in("alice")
    me = await house.me()
    assert me is not None
    refused = (None, Action.LOGIN_REFUSED, None, "192.0.2.1")
    await house.come_back(code="x", state="y")
    assert await last() == refused
    state = parse_qs(urlsplit(await house.begin()).query)["state"][0]
    before = await house.parley.actions()
    await house.come_back(error="access_denied", state=state)
    assert await house.parley.actions() == [*before, Action.LOGIN_REFUSED]
    await house.parley.state["administration"].change(me["id"], Change(disabled=True), COMMAND_LINE)
    await house.log_in("alice")
    assert await last() == (None, Action.LOGIN_REFUSED, me["id"], "192.0.2.1")


@on_sqlite
async def test_a_database_that_fails_on_the_way_back_is_said_so_by_the_page(house: House) -> None:
    back = await log_in_there(await house.begin(), "alice")
    async with house.parley.state["stores"].database.writing() as connection:
        await connection.execute(text("ALTER TABLE identities RENAME TO hidden"))
    assert await house.come_back(**back) == "/#login-error=openid_unavailable"


async def test_a_name_that_is_taken_is_not_taken_over(house: House) -> None:
    root = (await house.parley.login("root", PASSWORD)).json()
    await house.parley.http.post("/auth/logout")
    await house.log_in("root")
    me = await house.me()
    assert me is not None
    assert me["id"] != root["id"]
    assert me["username"].startswith("root-")
    assert me["role"] == "user"


async def test_what_is_sent_to_the_provider_holds_no_secret_of_the_browser(house: House) -> None:
    sent = parse_qs(urlsplit(await house.begin()).query)
    cookie = house.parley.http.cookies["parley_openid"]
    assert sent["code_challenge_method"] == ["S256"]
    assert sent["response_type"] == ["code"]
    assert {"state", "nonce", "code_challenge"} <= sent.keys()
    assert all(cookie not in value for values in sent.values() for value in values)


@pytest.mark.parametrize("query", [{"code": "x"}, {"code": "x", "state": "y"}, {"state": ""}, {"code": "x" * 5000}])
async def test_who_did_not_begin_here_does_not_finish_here(house: House, query: dict[str, str]) -> None:
    await house.begin()
    assert await house.come_back(**query) == "/#login-error=openid_state"
    assert await house.me() is None


async def test_a_log_in_that_another_browser_began_is_not_finished(house: House) -> None:
    back = await log_in_there(await house.begin(), "alice")
    house.parley.http.cookies.clear()
    assert await house.come_back(**back) == "/#login-error=openid_state"


async def test_a_log_in_is_finished_once(house: House) -> None:
    back = await log_in_there(await house.begin(), "alice")
    secret = house.parley.http.cookies["parley_openid"]
    assert await house.come_back(**back) == "/"
    house.parley.http.cookies.clear()
    assert await house.come_back(**back) == "/#login-error=openid_state"
    house.parley.http.cookies["parley_openid"] = secret
    assert await house.come_back(**back) == "/#login-error=openid_refused"


async def test_a_stolen_code_is_worth_nothing_in_a_log_in_of_the_thiefs_own(house: House) -> None:
    """PKCE: the provider compares the code's challenge with the verifier of whoever redeems it."""
    stolen = (await log_in_there(await house.begin(), "alice"))["code"]
    state = parse_qs(urlsplit(await house.begin()).query)["state"][0]
    assert await house.come_back(code=stolen, state=state) == "/#login-error=openid_refused"
    assert await house.me() is None


async def test_an_id_token_made_for_another_log_in_is_refused(house: House) -> None:
    """The nonce: here the provider was asked with another one, as if the token were an old one."""
    parts = urlsplit(await house.begin())
    query = {key: value[0] for key, value in parse_qs(parts.query).items()} | {"nonce": "another"}
    back = await log_in_there(urlunsplit(parts._replace(query=urlencode(query))), "alice")
    assert await house.come_back(**back) == "/#login-error=openid_refused"
    assert await house.me() is None


async def test_a_refusal_of_the_provider_leads_back_to_the_page(house: House) -> None:
    state = parse_qs(urlsplit(await house.begin()).query)["state"][0]
    assert await house.come_back(error="access_denied", state=state) == "/#login-error=openid_refused"


async def test_by_default_the_provider_opens_no_account(configured: Settings, hasher: CountingHasher) -> None:
    async with running(configured, hasher) as parley:
        await parley.user("alice")
        assert await House(parley).log_in("alice") == "/#login-error=openid_no_account"


async def test_an_account_is_linked_by_its_email_only_when_that_is_allowed_and_the_provider_verified_it(
    configured: Settings, hasher: CountingHasher
) -> None:
    for allowed, name, expected in [
        (False, "alice", "/#login-error=openid_no_account"),
        (True, "mallory", "/#login-error=openid_no_account"),
        (True, "alice", "/"),
    ]:
        async with running(configured.model_copy(update={"openid_link_by_email": allowed}), hasher) as parley:
            if not allowed:
                body = {"username": "root", "password": PASSWORD}
                await parley.http.post("/auth/register", json=body)
                more = {"username": "lee", "password": PASSWORD, "email": "Alice@example.org"}
                assert (await parley.http.post("/auth/admin/users", json=more)).status_code == 200
                await parley.http.post("/auth/logout")
            assert await House(parley).log_in(name) == expected
            me = await House(parley).me()
            assert (me and me["username"]) == ("lee" if expected == "/" else None)


async def test_an_unverified_address_of_somebody_else_is_not_kept(house: House) -> None:
    await house.log_in("mallory")
    account = await house.parley.state["administration"].named("mallory")
    assert account.email is None


async def test_a_disabled_account_is_not_opened_by_the_provider_either(house: House) -> None:
    await house.log_in("alice")
    me = await house.me()
    assert me is not None
    await house.parley.login("root")
    await house.parley.http.patch(f"/auth/admin/users/{me['id']}", json={"disabled": True})
    await house.parley.http.post("/auth/logout")
    assert await house.log_in("alice") == "/#login-error=openid_no_account"


@pytest.mark.parametrize("wrong", ["http://127.0.0.1:1", "http://localhost:{port}", "{issuer}/nowhere"])
async def test_a_provider_that_is_away_or_another_one_is_said_to_be_so(
    configured: Settings, hasher: CountingHasher, issuer: str, wrong: str
) -> None:
    changed = wrong.format(issuer=issuer, port=httpx2.URL(issuer).port)
    async with running(configured.model_copy(update={"openid_issuer": changed}), hasher) as parley:
        assert await House(parley).begin() == "/#login-error=openid_unavailable"


async def test_no_code_and_no_secret_is_in_the_log(house: House, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", logger="auth_service"):
        back = await log_in_there(await house.begin(), "alice")
        secret = house.parley.http.cookies["parley_openid"]
        await house.come_back(code=back["code"], state="wrong")
        state = parse_qs(urlsplit(await house.begin()).query)["state"][0]
        await house.come_back(code=back["code"], state=state)
    written = "".join(str(vars(record)) for record in caplog.records if record.name.startswith("auth_service"))
    assert "openid login refused" in written
    for canary in [back["code"], secret, "canary-of-the-client"]:
        assert canary not in written
