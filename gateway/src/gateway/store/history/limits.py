"""What one user may take of the storage that all share."""

from gateway.errors import StorageLimit

# Some 20 MB: more than anybody reads.
ITEMS_KEPT = 20_000


def refuse_more_items(kept: int, new: int) -> None:
    """Raises StorageLimit when a conversation, or a chain, would have too many with the new ones."""
    if kept + new > ITEMS_KEPT:
        raise StorageLimit("items in a conversation", ITEMS_KEPT)
