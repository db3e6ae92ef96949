"""What is kept in Redis. All keys of a user share a hash tag, so that Redis Cluster keeps them together.

    parley:{USER}:conversations         sorted set: conversation id by last activity (Unix milliseconds)
    parley:{USER}:conversation:ID       hash: created_at, metadata and generation (JSON), position (the last one given
                                        out), measured (JSON), active:RESPONSE (one field for each that runs)
    parley:{USER}:conversation:ID:items sorted set: item (JSON) by position
    …:conversation:ID:responses         set: the ids of its responses, to be deleted with it
    parley:{USER}:thread:ID[:items]     the same of a chain of responses outside a conversation; it expires
    parley:{USER}:response:ID           hash: response, request and input (JSON), thread, last (position), owner,
                                        segment (of the log), cancel; it expires
    parley:{USER}:sizes                 hash: bytes by key (gateway.store.history.sizes)
    parley:{USER}:once:DIGEST           string: the response that a client's own id was used for; it expires
    parley:{USER}:response:ID:log       stream: the events of the answer (gateway.store.turn_log)

A turn reserves the positions of its question and of its answer together, so they stand side by side also when two tabs
ask at once. Adding an item again changes nothing: a retry can not double it.
"""
