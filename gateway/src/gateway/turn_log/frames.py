"""The frames of one answer as far as this process has them. A follower reads at its own pace, from any number on."""

import asyncio
from collections.abc import AsyncIterator, Sequence


class Frames:
    def __init__(self) -> None:
        self._frames: list[str] = []
        self._ended = asyncio.Event()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._frames)

    def append(self, frames: Sequence[str], *, ended: bool) -> None:
        self._frames += frames
        if ended:
            self._ended.set()
        self._changed.set()
        self._changed = asyncio.Event()

    async def end(self) -> None:
        """Waits for the terminal event."""
        await self._ended.wait()

    async def follow(self, starting_after: int = -1) -> AsyncIterator[str]:
        """Frames with a `sequence_number` above `starting_after`, until the terminal one."""
        position = starting_after + 1
        while True:
            while position < len(self._frames):
                yield self._frames[position]
                position += 1
            if self._ended.is_set():
                return
            await self._changed.wait()
