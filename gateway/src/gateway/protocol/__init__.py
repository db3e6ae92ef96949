"""The wire of Open Responses (spec 2026-04-24) as frozen types: what clients send, what they receive."""
