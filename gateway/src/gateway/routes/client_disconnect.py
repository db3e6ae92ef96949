from starlette.types import Receive


async def wait_for_disconnect(receive: Receive) -> None:
    """Call it once the body has been read: it discards the rest of it."""
    while (await receive())["type"] != "http.disconnect":
        pass
