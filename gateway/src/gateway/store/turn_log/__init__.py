"""The events of one answer, in order, for any number of followers on any gateway.

An event is in Redis before any client sees it. The owner's followers read it from memory, all others through one
blocking reader per process.
"""
