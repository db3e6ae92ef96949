"""Chains that branch: nothing is copied, and what is deleted is gone from every branch."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from gateway.errors import PreviousResponseNotFound, StorageLimit
from gateway.protocol.create import ResponseCreate
from gateway.protocol.ids import new_thread_id, position_in
from gateway.protocol.input_items import InputMessage
from gateway.protocol.items import text_of
from gateway.store.history.conversations import Conversations
from gateway.store.history.history_reader import HistoryReader
from gateway.store.history.item_ranges import ItemPages, read_head, read_range
from gateway.store.history.stored_path import decode_path, encode_path
from gateway.store.history.turn_store import TurnStore
from gateway.turn.limits import MAX_RUNS
from gateway.turn.output import MAX_OUTPUT_ITEMS
from gateway.turn.records import ChainMovedOn, Path, Run
from tests.gateway.builders import stored_keys
from tests.gateway.items import ALICE, answer, question
from tests.gateway.replica import FakeEngine, Replica, replica, text_stream
from tests.gateway.store.history.stored_turns import RETENTION_SECONDS, accept, commit, turn, whole

USER = "user_1"
LONG = "x" * 50_000


@pytest.fixture
async def gateway(port: int) -> AsyncIterator[Replica]:
    async with replica(port, FakeEngine(*text_stream("fine"))) as found:
        yield found


async def ask(gateway: Replica, text: str, after: str | None = None) -> str:
    """Returns the id of the complete response."""
    asked = ResponseCreate(input=text, previous_response_id=after)
    response_id = str((await gateway.run_turn(asked))[-1]["response"]["id"])
    await gateway.registry.finish(5)
    return response_id


async def texts_after(gateway: Replica, response_id: str) -> list[str]:
    stored = await gateway.responses.get(USER, response_id)
    history = await gateway.history_reader.open(USER, stored.thread_id, stored.last_position)
    return [text_of(item) for item in await gateway.history_reader.read(USER, history)]


async def occurrences(redis: Redis, text: str) -> int:
    members = [await redis.zrange(key, 0, -1) for key in await redis.keys("parley:{*:items")]
    return sum(text.encode() in item for found in members for item in found)


def test_a_path_is_stored_in_as_few_bytes_as_its_names() -> None:
    path: Path = (Run("conv_a", 7), Run("thread_b", 300))
    assert encode_path(path) == b'[["conv_a",7],["thread_b",300]]'
    assert decode_path(encode_path(path)) == path
    assert decode_path(None) == ()


async def test_a_branch_contains_only_its_own_input_and_answer(gateway: Replica, redis: Redis) -> None:
    first = await ask(gateway, "the first question")
    await ask(gateway, "its continuation", after=first)
    branches = [await ask(gateway, f"branch {number}", after=first) for number in range(5)]
    deeper = await ask(gateway, "deeper", after=branches[3])
    assert await occurrences(redis, "the first question") == 1
    assert await texts_after(gateway, branches[3]) == ["the first question", "fine", "branch 3", "fine"]
    assert await texts_after(gateway, deeper) == ["the first question", "fine", "branch 3", "fine", "deeper", "fine"]


async def test_many_branches_of_a_long_chain_cost_what_they_add(gateway: Replica, redis: Redis) -> None:
    last, before = None, None
    for _ in range(6):
        before, last = last, await ask(gateway, LONG, after=last)
    keys = len(await redis.keys("parley:{*:items"))
    await asyncio.gather(*(ask(gateway, "again", after=before) for _ in range(24)))
    assert len(await redis.keys("parley:{*:items")) == keys + 24
    sizes = [await redis.memory_usage(key) or 0 for key in await redis.keys("parley:{*:items")]
    assert sum(sizes) < 8 * len(LONG)


async def test_of_many_continuations_at_once_one_appends_and_the_others_branch(gateway: Replica) -> None:
    first = await ask(gateway, "first")
    ids = await asyncio.gather(*(ask(gateway, f"{number}", after=first) for number in range(8)))
    threads = [(await gateway.responses.get(USER, one)).thread_id for one in (first, *ids)]
    assert len(set(threads)) == 8
    for number, one in enumerate(ids):
        assert await texts_after(gateway, one) == ["first", "fine", str(number), "fine"]


async def test_a_response_of_a_conversation_is_continued_outside_it_without_a_copy(
    gateway: Replica, redis: Redis
) -> None:
    within = await gateway.create_conversation()
    asked = ResponseCreate(input="inside", conversation=within)
    first = str((await gateway.run_turn(asked))[-1]["response"]["id"])
    await gateway.run_turn(ResponseCreate(input="later", conversation=within))
    outside = await ask(gateway, "outside", after=first)
    assert await texts_after(gateway, outside) == ["inside", "fine", "outside", "fine"]
    assert await occurrences(redis, "inside") == 1
    await Conversations(redis).delete(USER, within)
    assert await texts_after(gateway, outside) == ["outside", "fine"]
    assert gateway.engine.prompt_texts == ["be kind", "inside", "fine", "outside"]


async def test_a_deleted_response_is_gone_from_every_branch(gateway: Replica, redis: Redis) -> None:
    """The order of deletion does not matter, and nothing is left in the end."""
    first = await ask(gateway, "the text of A")
    rest = [await ask(gateway, f"after A {number}", after=first) for number in range(3)]
    await gateway.following.delete(USER, first)
    assert await occurrences(redis, "the text of A") == 0
    assert await texts_after(gateway, rest[2]) == ["after A 2", "fine"]
    assert await ask(gateway, "still going", after=rest[1])
    with pytest.raises(PreviousResponseNotFound):
        await ask(gateway, "more", after=first)
    for response_id in rest:
        await gateway.following.delete(USER, response_id)
    assert len(await redis.keys("parley:{*:items")) == 1
    threads = await redis.keys("parley:{user_1}:thread:*")
    assert len(threads) == 3, "the hash, the items and the responses of the one chain that is left"


async def test_an_emptied_chain_leaves_nothing(gateway: Replica, redis: Redis) -> None:
    first = await ask(gateway, "one")
    second = await ask(gateway, "two", after=first)
    for response_id in (second, first):
        await gateway.following.delete(USER, response_id)
    assert await redis.keys("parley:{user_1}:thread:*") == []
    assert await redis.keys("parley:{user_1}:response:*") == []


async def test_what_a_chain_continues_from_expires_no_earlier_than_the_chain(
    turns: TurnStore, reader: HistoryReader, redis: Redis, thread: str
) -> None:
    root, child = turn(1, new_thread_id(), 2), turn(2, new_thread_id(), MAX_OUTPUT_ITEMS + 3)
    await accept(turns, root, question(1))
    await commit(turns, root, answer(2))
    path = (Run(thread, 9), Run(root.thread_id or "", MAX_OUTPUT_ITEMS + 1))
    for key in await redis.keys("parley:{user_a}:thread:*"):
        await redis.expire(key, 5)
    await accept(turns, child, question(MAX_OUTPUT_ITEMS + 2), path=path)
    assert len(await whole(reader, child)) == 3
    assert await redis.ttl(f"parley:{{user_a}}:thread:{root.thread_id}:items") > RETENTION_SECONDS - 5
    assert await redis.ttl(f"parley:{{user_a}}:conversation:{thread}") == -1


async def test_a_turn_is_not_appended_behind_another(turns: TurnStore, reader: HistoryReader) -> None:
    first = turn(1, new_thread_id(), 2)
    await accept(turns, first, question(1))
    end = MAX_OUTPUT_ITEMS + 1
    path = (Run(first.thread_id or "", end),)
    second, third = (turn(number, first.thread_id or "", end + 2) for number in (2, 3))
    await accept(turns, second, question(end + 1), path=path)
    await accept(turns, second, question(end + 1), path=path)  # as after a reply that was lost
    with pytest.raises(ChainMovedOn):
        await accept(turns, third, question(end + 1), path=path)
    assert len(await whole(reader, second)) == 3


async def test_counting_tokens_or_a_refused_request_takes_no_position_of_a_chain(gateway: Replica) -> None:
    first = await ask(gateway, "one")
    create = ResponseCreate(input="two", previous_response_id=first)
    for _ in range(3):
        await gateway.preparation.prepare(USER, create, {}, response_id="")
    second = await ask(gateway, "two", after=first)
    threads = {(await gateway.responses.get(USER, one)).thread_id for one in (first, second)}
    assert len(threads) == 1


async def test_branches_in_branches_are_limited(gateway: Replica, redis: Redis) -> None:
    first = await ask(gateway, "one")
    second = await ask(gateway, "two", after=first)
    thread_id = (await gateway.responses.get(USER, second)).thread_id
    ancestry = tuple(Run(new_thread_id(), 0) for _ in range(MAX_RUNS - 1))
    await redis.hset(f"parley:{{user_1}}:thread:{thread_id}", "ancestry", encode_path(ancestry))
    with pytest.raises(StorageLimit, match="continue from the last response"):
        await ask(gateway, "another two", after=first)
    assert await redis.smembers("parley:gateway:g1:turns") == set()
    await ask(gateway, "three", after=second)


async def test_a_chain_that_an_earlier_version_has_copied_is_read_as_it_is(gateway: Replica, redis: Redis) -> None:
    first = await ask(gateway, "one")
    stored = await gateway.responses.get(USER, first)
    items = f"parley:{{user_1}}:thread:{stored.thread_id}"
    await redis.delete(f"{items}:responses")
    await redis.hincrby(items, "position", 500)  # by requests that were refused
    branch = await ask(gateway, "two", after=first)
    assert await texts_after(gateway, branch) == ["one", "fine", "two", "fine"]


@pytest.fixture
async def runs(redis: Redis, conversations: Conversations) -> tuple[Path, list[str]]:
    """A path of four runs, one of them empty, with more items behind each; and the ids along the path."""
    path, ids = [], []
    for number, (first, last, count) in enumerate([(1, 30, 30), (31, 31, 0), (32, 50, 19), (51, 90, 40)]):
        kinds = ["system" if number == 0 and place < 20 else "user" for place in range(count)]
        made = [InputMessage(kind, "?").at(first + place) for place, kind in enumerate(kinds)]  # type: ignore[arg-type]
        thread_id = new_thread_id()
        turns = TurnStore(redis, retention_seconds=RETENTION_SECONDS)
        behind = [question(last + 1 + more) for more in range(3)]
        await accept(turns, turn(number, thread_id, 900), *made, *behind)
        path.append(Run(thread_id, last))
        ids += [item.id for item in made]
    return tuple(path), ids


@pytest.mark.parametrize("count", [1, 39, 40, 41, 59, 60, 88, 89, 500])
async def test_the_newest_items_are_read_across_runs(redis: Redis, runs: tuple[Path, list[str]], count: int) -> None:
    path, ids = runs
    pages = ItemPages(redis, ALICE, path)
    await pages.read(0, 90, count)
    assert [item.id for item in reversed(pages.items)] == ids[-count:]
    assert pages.is_end == (count > len(ids))


@pytest.mark.parametrize(("first", "last"), [(1, 90), (25, 60), (31, 31), (51, 51), (20, 30), (90, 90), (91, 99)])
async def test_a_range_is_read_across_runs(redis: Redis, runs: tuple[Path, list[str]], first: int, last: int) -> None:
    path, ids = runs
    expected = [one for one in ids if first <= (position_in(one) or 0) <= last]
    assert [item.id for item in await read_range(redis, ALICE, path, first, last)] == expected


async def test_the_head_of_a_path_is_read_from_its_first_runs(redis: Redis, runs: tuple[Path, list[str]]) -> None:
    path, ids = runs
    assert [item.id for item in await read_head(redis, ALICE, path, below=91)] == ids[:20]
    assert [item.id for item in await read_head(redis, ALICE, path, below=11)] == ids[:10]


async def test_keys_of_a_chain_share_its_hash_tag(gateway: Replica, redis: Redis) -> None:
    await ask(gateway, "one")
    assert all(b"{user_1}" in key for key in await stored_keys(redis) if b":gateway" not in key)
