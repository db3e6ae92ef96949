"""The engines of a deployment, and which of them serve."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.engine.addresses import Addresses
from gateway.engine.client import EngineClient
from gateway.engine.ranking import order
from gateway.errors import ParleyError
from gateway.inference import ServedModel

logger = logging.getLogger(__name__)

_PROBE_SECONDS = (0.1, 0.2, 0.5, 1.0)


@dataclass(slots=True, eq=False)
class Backend:
    """`served` is None until a probe has found something, and while it is ejected. Who is `waiting` for its first
    word goes to another engine when it is found dead."""

    address: str
    engine: EngineClient
    served: ServedModel | None = None
    ejected: bool = False
    running: int = 0
    waiting: set[asyncio.Timeout] = field(default_factory=set)
    doubted: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def model(self) -> str | None:
        return self.served.id if self.served else None


class EnginePool:
    """`connect` makes the client of one engine. `look_seconds`: how long a silent engine may go unnoticed, and a new
    address unused. The only engine there is is not looked at while it has nothing to do: it may be a paid one."""

    def __init__(
        self, addresses: Addresses, connect: Callable[[str], EngineClient], *, look_seconds: float = 5.0
    ) -> None:
        self._looks_at_idle = addresses.may_be_several
        self._addresses = addresses
        self._connect = connect
        self._look_seconds = look_seconds
        self._members: dict[str, Backend] = {}
        self._leaving: list[Backend] = []
        self._odd: set[Backend] = set()
        self._take_up()

    async def close(self) -> None:
        for member in (*self._members.values(), *self._leaving):
            await member.engine.close()

    @property
    def serving(self) -> list[Backend]:
        """Only with the first one's model: no other could go on with an answer of it."""
        found = [one for one in self._members.values() if one.served]
        return [one for one in found if one.model == found[0].model]

    def order(self, key: str) -> list[Backend]:
        """Where to try, first choice first; any of them while none is known to serve."""
        found = self.serving or list(self._members.values())
        if len(found) < 2:
            return found
        return [self._members[address] for address in order(key, {one.address: one.running for one in found})]

    def report_failure(self, member: Backend, reason: Exception | None = None) -> None:
        """Puts it ejected until the next probe has found that it serves."""
        if member.served:
            self._put_aside(member, reason)
            member.doubted.set()

    async def watch(self) -> None:
        """Looks up the addresses and probes the engines, for as long as it runs."""
        tasks: dict[Backend, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                await self._addresses.look_up()
                self._take_up()
                for member in self._members.values():
                    if member not in tasks:
                        tasks[member] = group.create_task(self._attend(member))
                for member in tasks.keys() & set(self._leaving):
                    tasks.pop(member).cancel()
                await self._dismiss()
                await asyncio.sleep(self._look_seconds)

    async def _attend(self, member: Backend) -> None:
        failures = 0
        while True:
            if await self._probed(member):
                failures = 0
                await self._until_due(member)
            else:
                await asyncio.sleep(_PROBE_SECONDS[min(failures, len(_PROBE_SECONDS) - 1)])
                failures += 1

    async def _until_due(self, member: Backend) -> None:
        while True:
            try:
                async with asyncio.timeout(self._look_seconds):
                    await member.doubted.wait()
                    await asyncio.sleep(_PROBE_SECONDS[0])
                    return
            except TimeoutError:
                if member.running or self._looks_at_idle:
                    return

    async def _probed(self, member: Backend) -> bool:
        member.doubted.clear()
        try:
            served = await member.engine.probe()
        except ParleyError as exc:
            self._put_aside(member, exc)
            now = asyncio.get_running_loop().time()
            while member.waiting:
                member.waiting.pop().reschedule(now)
            return False
        if not member.served:
            logger.info("an engine serves", extra={"engine": member.address, "model": served.id})
        member.served, member.ejected = served, False
        self._name_the_odd()
        return True

    def _put_aside(self, member: Backend, reason: Exception | None) -> None:
        if not member.ejected:
            why = type(reason.__cause__ or reason).__name__ if reason else "silence"
            logger.warning("an engine was ejected", extra={"engine": member.address, "reason": why})
        member.served, member.ejected = None, True

    def _name_the_odd(self) -> None:
        serving = self.serving
        odd = {one for one in self._members.values() if one.served and one not in serving}
        for one in odd - self._odd:
            models = {"model": one.model, "expected": serving[0].model}
            logger.error("an engine with another model is left out", extra={"engine": one.address, **models})
        self._odd = odd

    def _take_up(self) -> None:
        found, known = self._addresses.known, self._members
        self._leaving += [one for address, one in known.items() if address not in found]
        self._members = {one: known.get(one) or Backend(one, self._connect(one)) for one in found}

    async def _dismiss(self) -> None:
        """Its answers come to their end first."""
        for member in [one for one in self._leaving if not one.running]:
            self._leaving.remove(member)
            await member.engine.close()
