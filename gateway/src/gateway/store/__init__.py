"""All of Redis: history, turn logs, leases, usage, presence, erasure, health."""
