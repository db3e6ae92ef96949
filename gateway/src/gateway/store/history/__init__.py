"""Conversations, chains of responses and their items; gateway.store.keys lists the keys.

A turn reserves the positions of its question and of its answer together, so they stay adjacent when two tabs ask at
the same time. Adding an item again changes nothing, so a retry cannot duplicate it.
"""
