"""Closes open sockets and streams when their credential ends, within moments.

A revocation may be lost while Redis is unreachable. So each of them also rechecks its credential periodically, and all
of them do so when this gateway has subscribed again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import anyio

from gateway.errors import ParleyError, Unauthenticated
from gateway.identity.introspection import User
from gateway.identity.revocation_channel import Revocation, RevocationChannel

# At most a minute in total: the result of a handshake may be 5 s old, an introspection may take 2 s, and one may fail
# (2 + 5).
RECHECK_SECONDS = 45.0
RETRY_SECONDS = 5.0

Close = Callable[[], Awaitable[None]]


class CredentialChecker(Protocol):
    async def recheck(self, user: User) -> None:
        """Raises Unauthenticated, or another ParleyError when the auth-service cannot decide."""


@dataclass(frozen=True, eq=False, slots=True)
class _Watch:
    user: User
    is_due: asyncio.Event = field(default_factory=asyncio.Event)
    has_ended: asyncio.Event = field(default_factory=asyncio.Event)


class Revocations:
    """`epoch` counts the revocations, and the moments in which one may have been lost."""

    def __init__(self, channel: RevocationChannel) -> None:
        self._channel = channel
        self._watches: dict[str, set[_Watch]] = {}
        self.epoch = 0

    async def watch(
        self,
        checker: CredentialChecker,
        user: User,
        close: Close,
        *,
        since: int | None = None,
        recheck_seconds: float = RECHECK_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        """Until cancelled, or until it has called `close` because the credential of `user` has ended. An open chat
        continues while the auth-service is unavailable.

        `since` is the `epoch` before `user` was introspected: a revocation since then came before there was anything
        to close. If it is missing or differs from `epoch`, the first recheck is immediate.
        """
        with self._register(user) as watch:
            if since != self.epoch:
                watch.is_due.set()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_recheck_periodically, checker, watch, recheck_seconds, retry_seconds)
                await watch.has_ended.wait()
                tasks.cancel_scope.cancel()
        await close()

    async def listen(self, on_revocation: Callable[[Revocation], None]) -> None:
        """Until cancelled, on a connection of its own; calls `on_revocation` for each one."""

        def revoke(revocation: Revocation) -> None:
            self.epoch += 1
            on_revocation(revocation)
            self._end(revocation)

        await self._channel.listen(revoke, on_subscribed=self._recheck_all)

    @contextmanager
    def _register(self, user: User) -> Iterator[_Watch]:
        watch = _Watch(user)
        self._watches.setdefault(user.id, set()).add(watch)
        try:
            yield watch
        finally:
            self._watches[user.id].discard(watch)
            if not self._watches[user.id]:
                del self._watches[user.id]

    def _end(self, revocation: Revocation) -> None:
        for watch in self._watches.get(revocation.sub, ()):
            if revocation.credential in (None, watch.user.credential):
                watch.has_ended.set()

    def _recheck_all(self) -> None:
        self.epoch += 1
        for watches in self._watches.values():
            for watch in watches:
                watch.is_due.set()


async def _recheck_periodically(
    checker: CredentialChecker, watch: _Watch, recheck_seconds: float, retry_seconds: float
) -> None:
    wait_seconds = recheck_seconds
    while not watch.has_ended.is_set():
        with anyio.move_on_after(wait_seconds):
            await watch.is_due.wait()
        watch.is_due.clear()
        try:
            await checker.recheck(watch.user)
            wait_seconds = recheck_seconds
        except Unauthenticated:
            watch.has_ended.set()
        except ParleyError:
            wait_seconds = retry_seconds
