import time
from collections.abc import Callable

from auth_service.accounts import Account, Role, canonical_name
from auth_service.errors import UnknownAccount, UnsuitableKey
from auth_service.hashing import Hasher
from auth_service.passwords import acceptable
from auth_service.store.accounts import AccountStore
from auth_service.store.api_keys import ApiKeyStore
from auth_service.tokens import ApiKey, Scope, new_api_key, new_id


class Administration:
    """What the command line does to the accounts, while the server runs or not."""

    def __init__(
        self, accounts: AccountStore, api_keys: ApiKeyStore, hasher: Hasher, clock: Callable[[], float] = time.time
    ) -> None:
        self._accounts = accounts
        self._api_keys = api_keys
        self._hasher = hasher
        self._clock = clock

    async def add_user(self, name: str, password: str, role: Role) -> Account:
        """Raises UnsuitableName, UnsuitablePassword, NameTaken."""
        name = canonical_name(name)
        password_hash = self._hasher.hash(acceptable(password, name=name))
        account = Account(new_id("user"), name, password_hash, role, disabled=False, created_at=int(self._clock()))
        await self._accounts.add(account)
        return account

    async def users(self) -> list[Account]:
        return await self._accounts.all()

    async def add_key(self, user: str, label: str, scope: Scope) -> str:
        """The key itself, shown this once. Raises UnsuitableName, UnsuitableKey, UnknownAccount."""
        if not (1 <= len(label) <= 64 and label.isprintable()):
            raise UnsuitableKey("The label of a key is 1 to 64 printable characters.")
        account = await self._accounts.named(canonical_name(user))
        if account is None:
            raise UnknownAccount(canonical_name(user))
        if scope is Scope.ADMIN and account.role is not Role.ADMIN:
            raise UnsuitableKey(f"A key with the scope admin needs an administrator, and {account.name} is none.")
        token = new_api_key()
        await self._api_keys.add(ApiKey(new_id("key"), account.id, label, scope, int(self._clock())), token)
        return token
