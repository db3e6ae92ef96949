"""The use cases: prepare, run, follow, stop and take over turns. They own the ports that the adapters fulfil."""
