"""The names of all keys and channels of the gateway in Redis. All keys of a user share a hash tag, so that Redis
Cluster keeps them together.

History (gateway.store.history):

    parley:{USER}:conversations               sorted set: conversation id by last activity (Unix milliseconds)
    parley:{USER}:conversation:ID             hash: created_at, metadata and generation (JSON), position (the last one
                                              reserved), measured (JSON), active:RESPONSE (one field for each that runs)
    parley:{USER}:conversation:ID:items       sorted set: item (JSON) by position
    parley:{USER}:conversation:ID:responses   set: the ids of its responses, to be deleted with it
    parley:{USER}:thread:ID[:items]           the same for a chain of responses outside a conversation; its hash has
                                              ancestry (JSON: where the items before its own are); expires
    parley:{USER}:thread:ID:responses         the same; expires
    parley:{USER}:response:ID                 hash: response (JSON, without its output) and request (JSON), input (JSON,
                                              while it runs) with its digest, thread, first and last (positions of its
                                              items), owner, segment (of the log), cancel, size (of its items) and
                                              reserved (bytes, while it runs); expires
    parley:{USER}:once:DIGEST                 string: the response accepted under an idempotency key; expires
    parley:{USER}:quota                       hash: bytes by THREAD, RESPONSE, RESPONSE:log, once:DIGEST and usage:DATE,
                                              reserved:TOKEN (bytes, and the time), and the total in `*`
    parley:{USER}:sizes                       hash: the same as an earlier version counted it

The log of a turn (gateway.store.turn_log):

    parley:{USER}:response:ID:log[:SEGMENT]   stream: one entry an event, with the id `sequence_number + 1`-0; a
                                              takeover ends it with the last possible id, after which Redis refuses
                                              every entry; expires
    parley:gateway:ID:control                 stream: commands from other gateways; expires

The rest of gateway.store:

    parley:{USER}:usage:YYYY-MM-DD            hash: requests, input_tokens, output_tokens of a day in UTC; expires
    parley:gateways                           set: every gateway that has, or had, a turn
    parley:gateway:ID:alive                   string: the lease on all turns of a gateway, renewed every 0.4 s; expires
    parley:gateway:ID:turns                   set: `USER RESPONSE` of each turn it runs
    parley:storage                            hash: id, created_at, written_at, writes; written in transactions only
    parley:storage:witness                    hash: id, writes; never written in a transaction
    parley:plain-text:left                    channel: departures from the plain-text protocol

The channel `parley:revocations` belongs to the auth-service (gateway.identity.revocations).
"""

import hashlib

from gateway.protocol.ids import is_conversation_id

GATEWAYS_KEY = "parley:gateways"
MARKER_KEY = "parley:storage"
WITNESS_KEY = "parley:storage:witness"
QUOTA_TOTAL = "*"
LOG_SUFFIX = ":log"
DEPARTURES_CHANNEL = "parley:plain-text:left"


def user_pattern(user_id: str) -> str:
    """Matches all keys of the user. The auth-service makes the ids; they contain no wildcard."""
    return f"parley:{{{user_id}}}:*"


def index_key(user_id: str) -> str:
    return f"parley:{{{user_id}}}:conversations"


def thread_key(user_id: str, thread_id: str) -> str:
    kind = "conversation" if is_conversation_id(thread_id) else "thread"
    return f"parley:{{{user_id}}}:{kind}:{thread_id}"


def items_key(user_id: str, thread_id: str) -> str:
    return thread_key(user_id, thread_id) + ":items"


def responses_key(user_id: str, thread_id: str) -> str:
    return thread_key(user_id, thread_id) + ":responses"


def response_key(user_id: str, response_id: str) -> str:
    return f"parley:{{{user_id}}}:response:{response_id}"


def idempotency_key(user_id: str, client_id: str) -> str:
    """`client_id` is the client's own and may be any text: the key contains its digest."""
    return f"parley:{{{user_id}}}:{idempotency_field(client_id)}"


def idempotency_field(client_id: str) -> str:
    """Of the quota."""
    return f"once:{hashlib.sha256(client_id.encode()).hexdigest()[:32]}"


def quota_key(user_id: str) -> str:
    return f"parley:{{{user_id}}}:quota"


def earlier_sizes_key(user_id: str) -> str:
    return f"parley:{{{user_id}}}:sizes"


def usage_key(user_id: str, date: str) -> str:
    return f"parley:{{{user_id}}}:{usage_field(date)}"


def usage_field(date: str) -> str:
    """Of the quota."""
    return f"usage:{date}"


def key_of_field(user_id: str, field: str) -> str:
    """What a field of the quota that is named like a key counts."""
    return f"parley:{{{user_id}}}:{field}"


def segment_key(user_id: str, response_id: str, segment: int) -> str:
    """A log begins in segment 0; each takeover fences one segment and continues in the next."""
    log = response_key(user_id, response_id) + LOG_SUFFIX
    return log if segment == 0 else f"{log}:{segment}"


def segment_keys(user_id: str, response_id: str, last: int) -> list[str]:
    """Of all segments up to the last."""
    return [segment_key(user_id, response_id, segment) for segment in range(last + 1)]


def control_key(gateway_id: str) -> str:
    return f"parley:gateway:{gateway_id}:control"


def lease_key(gateway_id: str) -> str:
    return f"parley:gateway:{gateway_id}:alive"


def turns_key(gateway_id: str) -> str:
    return f"parley:gateway:{gateway_id}:turns"
