"""The names of the streams."""


def log_key(user_id: str, response_id: str) -> str:
    return f"parley:{{{user_id}}}:response:{response_id}:log"


def control_key(gateway_id: str) -> str:
    return f"parley:gateway:{gateway_id}:control"
