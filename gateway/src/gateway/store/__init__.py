"""Everything in Redis: history, turn logs, leases, usage, presence, erasure, health."""
