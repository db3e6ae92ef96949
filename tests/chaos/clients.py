"""Followers that behave like a page or an SDK: they send an id of their own, notice silence, reconnect, and resume
after the last event they received."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from tests.chaos.recording import Frame, Recording
from tests.chaos.transports import CONNECT_SECONDS, SILENCE_SECONDS, Body, ConnectionBroken, Refused, Transport

_BACKOFF_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8)

OnFrame = Callable[[Frame], None]


@dataclass(slots=True)
class Follower:
    """Disconnects after `disconnect_after()` frames, on every connection; None: it stays connected."""

    transport: Transport
    recording: Recording
    rng: random.Random
    seen: OnFrame = lambda _: None
    disconnect_after: Callable[[], int] | None = None

    async def ask(self, body: Body) -> None:
        """Until the end of the answer. The same body returns the same answer, so a repeated request is harmless."""
        await self._until_the_end(lambda: self.transport.ask(body))

    async def follow(self, response_id: str) -> None:
        """From its first event."""
        await self._until_the_end(lambda: self.transport.resume(response_id, -1))

    async def _until_the_end(self, first: Callable[[], AsyncGenerator[str]]) -> None:
        failures = 0
        while True:
            known, before = self.recording.response_id, len(self.recording.frames)
            frames = first() if known is None else self.transport.resume(known, self.recording.last_number)
            try:
                if await self._take(frames):
                    return
            except ConnectionBroken:
                pass
            except Refused as exc:
                self.recording.refusals.append(str(exc))
            made_progress = len(self.recording.frames) > before
            failures = 0 if made_progress else failures + 1
            await self._wait(failures)

    async def _take(self, frames: AsyncGenerator[str]) -> bool:
        """True at the end of the answer."""
        self.recording.connections += 1
        left = self.disconnect_after() if self.disconnect_after else -1
        now = asyncio.get_running_loop().time
        async with aclosing(frames):
            try:
                async with asyncio.timeout(SILENCE_SECONDS + CONNECT_SECONDS) as silence:
                    async for raw in frames:
                        silence.reschedule(now() + SILENCE_SECONDS)
                        frame = self.recording.add(raw)
                        self.seen(frame)
                        left -= 1
                        if frame.is_terminal or left == 0:
                            return frame.is_terminal
            except TimeoutError as exc:
                raise ConnectionBroken from exc
        return False

    async def _wait(self, failures: int) -> None:
        maximum = _BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS) - 1)]
        await asyncio.sleep(self.rng.uniform(maximum / 2, maximum))
