"""The names of the streams."""


def segment_key(user_id: str, response_id: str, segment: int) -> str:
    """A log begins in its segment 0; each takeover seals one and goes on in the next."""
    log = f"parley:{{{user_id}}}:response:{response_id}:log"
    return log if segment == 0 else f"{log}:{segment}"


def segment_keys(user_id: str, response_id: str, last: int) -> list[str]:
    """Of all segments up to the last."""
    return [segment_key(user_id, response_id, segment) for segment in range(last + 1)]


def control_key(gateway_id: str) -> str:
    return f"parley:gateway:{gateway_id}:control"
