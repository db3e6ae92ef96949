"""What one user may take of the storage that all share."""

from gateway.errors import StorageLimit

# Some 20 MB: more than anybody reads.
MAX_ITEMS = 20_000


def check_item_limit(kept: int, new: int) -> None:
    """Raises StorageLimit when a conversation, or a chain, would have too many with the new ones."""
    if kept + new > MAX_ITEMS:
        raise StorageLimit("items in a conversation", MAX_ITEMS)
