import pytest

from auth_service.accounts import Role
from auth_service.administration import Administration
from auth_service.errors import NameTaken, UnknownAccount, UnsuitableKey, UnsuitableName, UnsuitablePassword
from auth_service.store.accounts import AccountStore
from auth_service.store.api_keys import ApiKeyStore
from auth_service.store.database import Database
from auth_service.tokens import Scope
from tests.auth_service.fakes import Clock, CountingHasher

PASSWORD = "correct horse battery"


@pytest.fixture
async def administration(database: Database, hasher: CountingHasher) -> Administration:
    administration = Administration(AccountStore(database), ApiKeyStore(database), hasher, Clock())
    await administration.add_user("alice", PASSWORD, Role.USER)
    await administration.add_user("root", PASSWORD, Role.ADMIN)
    hasher.operations.clear()
    return administration


async def test_a_name_is_stored_in_one_spelling(administration: Administration) -> None:
    account = await administration.add_user("Bob", PASSWORD, Role.USER)
    assert account.name == "bob"
    assert [user.name for user in await administration.users()] == ["alice", "bob", "root"]


@pytest.mark.parametrize(
    ("name", "password", "refusal"),
    [
        ("ALICE", PASSWORD, NameTaken),
        ("b\u00f6b", PASSWORD, UnsuitableName),
        ("", PASSWORD, UnsuitableName),
        ("bob", "", UnsuitablePassword),
        ("bob", "short12", UnsuitablePassword),
        ("bob", "x" * 129, UnsuitablePassword),
        ("bob", "password123", UnsuitablePassword),
        ("bobbington", "BobbingTon1", UnsuitablePassword),
    ],
)
async def test_a_user_who_is_refused_is_not_added(
    administration: Administration, name: str, password: str, refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        await administration.add_user(name, password, Role.USER)
    assert [user.name for user in await administration.users()] == ["alice", "root"]


async def test_a_password_that_is_refused_is_not_hashed(administration: Administration, hasher: CountingHasher) -> None:
    with pytest.raises(UnsuitablePassword):
        await administration.add_user("bob", "x" * 129, Role.USER)
    assert hasher.operations == []


@pytest.mark.parametrize(
    ("user", "label", "scope", "refusal"),
    [
        ("nobody", "laptop", Scope.CHAT, UnknownAccount),
        ("\u0430lice", "laptop", Scope.CHAT, UnsuitableName),
        ("alice", "laptop", Scope.ADMIN, UnsuitableKey),
        ("alice", "", Scope.CHAT, UnsuitableKey),
        ("alice", "x" * 65, Scope.CHAT, UnsuitableKey),
        ("alice", "two\nlines", Scope.CHAT, UnsuitableKey),
    ],
)
async def test_a_key_nobody_could_use_or_tell_apart_is_not_made(
    administration: Administration, user: str, label: str, scope: Scope, refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        await administration.add_key(user, label, scope)


async def test_a_user_may_have_many_keys_and_an_administrator_one_of_each_scope(administration: Administration) -> None:
    keys = {
        await administration.add_key("alice", "laptop", Scope.CHAT),
        await administration.add_key("Alice", "laptop", Scope.CHAT),
        await administration.add_key("root", "deploy", Scope.ADMIN),
    }
    assert len(keys) == 3
