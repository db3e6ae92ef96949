import pytest
from redis.asyncio import Redis

from gateway.store.history.conversations import Conversations
from gateway.store.history.history_reader import HistoryReader
from gateway.store.history.turn_store import TurnStore
from tests.gateway.items import ALICE
from tests.gateway.store.history.stored_turns import RETENTION_SECONDS


@pytest.fixture
def reader(redis: Redis) -> HistoryReader:
    return HistoryReader(redis)


@pytest.fixture
def turns(redis: Redis) -> TurnStore:
    return TurnStore(redis, retention_seconds=RETENTION_SECONDS)


@pytest.fixture
def conversations(redis: Redis) -> Conversations:
    return Conversations(redis)


@pytest.fixture
async def thread(conversations: Conversations) -> str:
    """A new conversation of Alice's."""
    return (await conversations.create(ALICE, {})).id
