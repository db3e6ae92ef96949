"""How many items a conversation, or a chain of responses, may have."""

from gateway.errors import StorageLimit

# Some 20 MB: more than anybody reads.
MAX_ITEMS = 20_000
# All of most conversations. Older items are read where the model's context has room for them.
RECENT_ITEMS = 400


def check_item_limit(stored: int, new: int) -> None:
    """Raises StorageLimit when the new items would exceed the limit."""
    if stored + new > MAX_ITEMS:
        raise StorageLimit("items in a conversation", MAX_ITEMS)
