import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from auth_service.audit import Action, Actor, new_entry
from auth_service.errors import InvalidLink, NotFound
from auth_service.store.stores import Stores
from auth_service.tokens import Link, TokenKind, new_id, new_token, token_kind

INVITE_SECONDS: Final = 7 * 86400
RESET_SECONDS: Final = 86400
# Browsers do not send the fragment to the server, so the token appears in no log; the page reads it.
_FRAGMENTS: Final = {TokenKind.INVITE: "/#invite=", TokenKind.RESET: "/#reset="}


@dataclass(frozen=True, slots=True)
class IssuedLink:
    """`token` is not stored; `path` is the page's URL path that contains it."""

    link: Link
    token: str

    @property
    def path(self) -> str:
        return _FRAGMENTS[self.link.kind] + self.token


class OneTimeLinks:
    """Invites, with which a user creates an account, and resets, with which a user sets a new password."""

    def __init__(self, stores: Stores, clock: Callable[[], float] = time.time) -> None:
        self._stores = stores
        self._clock = clock

    async def create_invite(self, actor: Actor, expires_in_seconds: int = INVITE_SECONDS) -> IssuedLink:
        return await self._add(TokenKind.INVITE, None, actor, expires_in_seconds)

    async def list_invites(self) -> list[Link]:
        """Returns the invites that can still be used, the newest first."""
        return await self._stores.links.list_valid(TokenKind.INVITE, int(self._clock()))

    async def revoke_invite(self, link_id: str, actor: Actor) -> None:
        """Raises NotFound."""
        async with self._stores.database.write_transaction():
            if not await self._stores.links.remove(TokenKind.INVITE, link_id):
                raise NotFound("invite")
            await self._stores.audit.add(new_entry(actor, Action.INVITE_REVOKED, link_id, int(self._clock())))

    async def create_reset(self, account_id: str, actor: Actor, expires_in_seconds: int = RESET_SECONDS) -> IssuedLink:
        """Invalidates earlier resets of the account. Raises NotFound."""
        return await self._add(TokenKind.RESET, account_id, actor, expires_in_seconds)

    async def check(self, token: str, kind: TokenKind) -> Link:
        """Raises InvalidLink. Saves expensive work for invalid links; only `redeem` is authoritative."""
        link = await self._stores.links.get_by_token(token, int(self._clock())) if token_kind(token) is kind else None
        if link is None:
            raise InvalidLink
        return link

    async def redeem(self, token: str, kind: TokenKind) -> Link:
        """Called inside the transaction that uses the link. Raises InvalidLink."""
        link = await self._stores.links.redeem(token, int(self._clock())) if token_kind(token) is kind else None
        if link is None:
            raise InvalidLink
        return link

    async def _add(self, kind: TokenKind, account_id: str | None, actor: Actor, expires_in_seconds: int) -> IssuedLink:
        now, prefix = int(self._clock()), "invite" if kind is TokenKind.INVITE else "reset"
        link = Link(new_id(prefix), kind, account_id, actor.id, now, now + expires_in_seconds)
        action = Action.INVITE_CREATED if kind is TokenKind.INVITE else Action.RESET_CREATED
        token = new_token(kind)
        async with self._stores.database.write_transaction():
            if account_id is not None:
                if await self._stores.accounts.get_for_update(account_id) is None:
                    raise NotFound("user")
                await self._stores.links.remove_by_account(account_id)
            await self._stores.links.add(link, token)
            await self._stores.audit.add(new_entry(actor, action, account_id or link.id, now))
        return IssuedLink(link, token)
