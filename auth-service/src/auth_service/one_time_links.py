import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from auth_service.audit import Action, Actor, entry
from auth_service.errors import InvalidLink, NotFound
from auth_service.store.stores import Stores
from auth_service.tokens import Kind, Link, kind_of, new_id, new_token

INVITE_SECONDS: Final = 7 * 86400
RESET_SECONDS: Final = 86400
# The page reads what stands behind #, which no browser sends to a server: the token is in no log.
_FRAGMENTS: Final = {Kind.INVITE: "/#invite=", Kind.RESET: "/#reset="}


@dataclass(frozen=True, slots=True)
class NewLink:
    """`token` exists nowhere else; `path` is where the page takes it."""

    link: Link
    token: str

    @property
    def path(self) -> str:
        return _FRAGMENTS[self.link.kind] + self.token


class OneTimeLinks:
    """To an account of one's own (an invite), or to a new password (a reset)."""

    def __init__(self, stores: Stores, clock: Callable[[], float] = time.time) -> None:
        self._stores = stores
        self._clock = clock

    async def invite(self, actor: Actor, expires_in_seconds: int = INVITE_SECONDS) -> NewLink:
        return await self._add(Kind.INVITE, None, actor, expires_in_seconds)

    async def invites(self) -> list[Link]:
        """Those that can still be used, the newest first."""
        return await self._stores.links.all(Kind.INVITE, int(self._clock()))

    async def revoke_invite(self, link_id: str, actor: Actor) -> None:
        """Raises NotFound."""
        async with self._stores.database.writing():
            if not await self._stores.links.remove(Kind.INVITE, link_id):
                raise NotFound("invite")
            await self._stores.audit.add(entry(actor, Action.INVITE_REVOKED, link_id, int(self._clock())))

    async def reset(self, account_id: str, actor: Actor, expires_in_seconds: int = RESET_SECONDS) -> NewLink:
        """A newer one ends the ones before. Raises NotFound."""
        return await self._add(Kind.RESET, account_id, actor, expires_in_seconds)

    async def check(self, token: str, kind: Kind) -> None:
        """Raises InvalidLink. For what comes before expensive work; only `take` decides."""
        if kind_of(token) is not kind or not await self._stores.links.of_token(token, int(self._clock())):
            raise InvalidLink

    async def take(self, token: str, kind: Kind) -> Link:
        """Inside the transaction of what it is used for. Raises InvalidLink."""
        link = await self._stores.links.take(token, int(self._clock())) if kind_of(token) is kind else None
        if link is None:
            raise InvalidLink
        return link

    async def _add(self, kind: Kind, account_id: str | None, actor: Actor, expires_in_seconds: int) -> NewLink:
        now, prefix = int(self._clock()), "invite" if kind is Kind.INVITE else "reset"
        link = Link(new_id(prefix), kind, account_id, actor.id, now, now + expires_in_seconds)
        action = Action.INVITE_CREATED if kind is Kind.INVITE else Action.RESET_CREATED
        token = new_token(kind)
        async with self._stores.database.writing():
            if account_id is not None:
                if await self._stores.accounts.held(account_id) is None:
                    raise NotFound("user")
                await self._stores.links.remove_of_account(account_id)
            await self._stores.links.add(link, token)
            await self._stores.audit.add(entry(actor, action, account_id or link.id, now))
        return NewLink(link, token)
