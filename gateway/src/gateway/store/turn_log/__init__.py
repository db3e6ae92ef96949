"""The events of one answer, in order, for any number of followers on any replica.

An event is in Redis before any client sees it. The followers on its own gateway read it from memory, all others through
one blocking reader a process.
"""
