"""How much a conversation, or a chain of responses, may have, and how much of it one request reads."""

from gateway.errors import StorageLimit

# About 20 MB.
MAX_ITEMS = 20_000
# Covers most conversations completely. Older items are loaded where the model's context has room for them.
RECENT_ITEMS = 400
# Each costs a read of the whole history one more command, and each new branch 50 bytes.
MAX_RUNS = 256
# Of a conversation with long items, fewer: the text of 200,000 tokens or more. Read in one go.
READ_BYTES = 2**20
# All that a request ever reads: a million tokens of four bytes each.
MAX_READ_BYTES = 4 * 2**20


def check_item_limit(stored: int, new: int) -> None:
    """Raises StorageLimit when the new items would exceed the limit."""
    if stored + new > MAX_ITEMS:
        raise StorageLimit("items in a conversation", MAX_ITEMS)


def check_branch_limit(runs: int) -> None:
    """Before a new chain begins at the end of a path of so many runs. Raises StorageLimit."""
    if runs >= MAX_RUNS:
        remedy = "continue from the last response of a chain, or begin a new one with `POST /v1/responses/compact`"
        raise StorageLimit("branches that begin in one another", MAX_RUNS, remedy)
