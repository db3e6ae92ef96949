"""How much a conversation, or a chain of responses, may have, and how much of it one request reads."""

from gateway.errors import StorageLimit

# About 20 MB.
MAX_ITEMS = 20_000
# Covers most conversations completely. Older items are loaded where the model's context has room for them.
RECENT_ITEMS = 400
# Of a conversation with long items, fewer: the text of 200,000 tokens or more. Read in one go.
READ_BYTES = 2**20
# All that a request ever reads: a million tokens of four bytes each.
MAX_READ_BYTES = 4 * 2**20


def check_item_limit(stored: int, new: int) -> None:
    """Raises StorageLimit when the new items would exceed the limit."""
    if stored + new > MAX_ITEMS:
        raise StorageLimit("items in a conversation", MAX_ITEMS)
