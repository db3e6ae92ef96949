"""How many prompts the engine has to count at once."""

import asyncio
from collections import Counter
from typing import Any, cast

import pytest

from gateway.engine.tokenizer import Tokenizer
from gateway.inference import OutputOptions, PromptMessage
from gateway.pauses import user_at_work

PLAIN = OutputOptions()


class Catalog:
    async def name(self) -> str:
        return "a-model"


class CountingTokenizer(Tokenizer):
    def __init__(self) -> None:
        super().__init__(cast("Any", None), cast("Any", Catalog()))
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    async def _post(self, path: str, body: dict[str, Any], decode: Any) -> Any:
        user_id = user_at_work.get()
        self.running[user_id] += 1
        self.most[user_id] = max(self.most[user_id], self.running[user_id])
        await asyncio.sleep(0.01)
        self.running[user_id] -= 1
        return decode(b'{"count":1,"max_model_len":4096,"tokens":[1]}')


@pytest.mark.parametrize(("length", "at_once"), [(100_000, 1), (100, 5)], ids=["long", "short"])
async def test_of_one_user_long_prompts_are_counted_one_at_a_time(length: int, at_once: int) -> None:
    tokenizer = CountingTokenizer()

    async def count(user_id: str) -> None:
        user_at_work.set(user_id)
        counted = await tokenizer.tokenize((PromptMessage("user", "x" * length),), PLAIN)
        assert counted.count == 1

    await asyncio.gather(*(count(user_id) for user_id in ("mallory", "alice") * 5))
    assert tokenizer.most == {"mallory": at_once, "alice": at_once}
