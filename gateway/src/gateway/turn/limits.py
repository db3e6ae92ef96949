"""How many items a conversation, or a chain of responses, may have."""

from gateway.errors import StorageLimit

# About 20 MB.
MAX_ITEMS = 20_000
# Covers most conversations completely. Older items are loaded where the model's context has room for them.
RECENT_ITEMS = 400


def check_item_limit(stored: int, new: int) -> None:
    """Raises StorageLimit when the new items would exceed the limit."""
    if stored + new > MAX_ITEMS:
        raise StorageLimit("items in a conversation", MAX_ITEMS)
