"""The events of one answer, in order, for any number of followers on any replica.

    parley:{USER}:response:ID:log[:SEGMENT]    stream: one entry an event, id `sequence_number + 1`-0; a takeover ends
                                               it with the last id there is, after which Redis adds nothing
    parley:gateway:ID:control                  stream: what other replicas want of a gateway

An event is in Redis before anybody sees it. The owner's followers read it from memory then, all others through one
blocking reader a process.
"""
