"""What a turn has added to a conversation that was deleted at that moment. Its events expire by themselves, behind
their end."""

from redis.asyncio import Redis

from gateway.store.errors import translated
from gateway.store.history.keys import index_key, items_key, response_key, responses_key, thread_key


async def delete(redis: Redis, user_id: str, thread_id: str, response_id: str) -> None:
    async with translated(), redis.pipeline(transaction=True) as pipe:
        pipe.delete(thread_key(user_id, thread_id), items_key(user_id, thread_id))
        pipe.delete(responses_key(user_id, thread_id))
        pipe.delete(response_key(user_id, response_id))
        pipe.zrem(index_key(user_id), thread_id)
        await pipe.execute()
