"""No credential and no word of a message is in any log."""

import asyncio

from tests.stack.conftest import ORIGIN_SECRET, PASSWORD, House, ask

CANARY = "canary-7f3a"


async def test_no_secret_and_no_message_is_in_any_log(house: House) -> None:
    folder = house.stack.plan.directory

    def ended() -> int:
        return sum(log.read_text().count("turn ended") for log in folder.glob("log/gateway-*.log"))

    before = ended()
    async with house.plain_text("12345", ORIGIN_SECRET) as socket:
        await socket.send(f"[[text=.]] {CANARY}")
        await socket.recv()
    async with house.plain_text("12345", f"{CANARY}-wrong-secret") as socket:
        await socket.send("x")
        await socket.recv()
    async with house.socket(house.alice) as responses:
        await ask(responses, CANARY)
    cookie = house.log_in("alice", PASSWORD)
    logs = [*folder.glob("log/*.log"), *folder.glob("nginx/*.log")]
    assert {"gateway-1.log", "gateway-2.log", "auth-service.log", "access.log", "error.log"} <= {
        one.name for one in logs
    }
    # Everything is written: each turn's last line is its end.
    while ended() < before + 2:
        await asyncio.sleep(0.05)
    made = [file.read_text() for file in (folder / "secrets").iterdir()]
    assert len(made) == 2
    secrets = [ORIGIN_SECRET, PASSWORD, house.alice, cookie.partition("=")[2], CANARY, *made]
    found = [(log.name, secret) for log in logs for secret in secrets if secret in log.read_text(errors="replace")]
    assert found == []
    assert '"path":"/ws"' in (folder / "nginx/access.log").read_text()
