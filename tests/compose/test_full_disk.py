"""A disk of 192 MiB under Redis. Users fill it, and then something else does (`secrets/start-redis.sh`)."""

import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.disk import Disk, NoDisk
from tests.compose.chat import Answer, Chat
from tests.compose.conftest import PASSWORD, USER, deployed
from tests.compose.project import SCRIPTED, Project

pytestmark = [pytest.mark.compose, pytest.mark.timeout(600)]

OTHER_USER = "bea"
# Of Redis, in compose.yaml.
REDIS_UID, REDIS_GID = 999, 1000
# A body may have 64 KiB.
HALF_OF_AN_ITEM = 30_000
QUESTION = {"model": "parley-demo", "input": "[[text=a lighthouse]]"}
READY = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000/readyz', timeout=8).status)"
# The shell beside Redis is its only child.
STOP_THE_GUARD = "kill -STOP $(cat /proc/1/task/1/children)"
HEALTHY = {"200", "healthy"}


@dataclass(frozen=True)
class SmallDisk:
    project: Project
    disk: Disk
    users: tuple[Chat, Chat]

    @property
    def starts(self) -> tuple[str, int]:
        """When Redis was started, and how often Docker has restarted it."""
        [redis] = self.project.containers_of("redis")
        return redis["State"]["StartedAt"], redis["RestartCount"]

    @property
    def health(self) -> set[str]:
        """Of Redis and the gateway to Docker, and the status of the gateway's `/readyz`."""
        containers = [one for name in ("redis", "gateway") for one in self.project.containers_of(name)]
        ready = self.project.execute("gateway", "python", "-c", READY).strip()
        return {ready, *(one["State"]["Health"]["Status"] for one in containers)}

    def logged(self, pattern: str) -> list[re.Match[str]]:
        return list(re.finditer(f"^disk guard: {pattern}$", self.project.logs("redis"), re.MULTILINE))


@pytest.fixture(scope="module")
def small(compose: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisk]:
    folder = tmp_path_factory.mktemp("small-disk")
    try:
        disk = Disk(folder / "redis")
    except NoDisk as exc:
        pytest.skip(str(exc))
    try:
        os.chown(folder / "redis", REDIS_UID, REDIS_GID)
        with deployed((*SCRIPTED, str(_overlay(folder))), "parley-test-disk") as project:
            project.execute("auth-service", "auth-service", "user", "add", OTHER_USER, text=f"{PASSWORD}\n")
            users = (Chat.log_in(project.url, USER, PASSWORD), Chat.log_in(project.url, OTHER_USER, PASSWORD))
            yield SmallDisk(project, disk, users)
    finally:
        disk.remove()


def _overlay(folder: Path) -> Path:
    overlay = folder / "compose.disk.yaml"
    options = f"{{type: none, o: bind, device: {folder / 'redis'}}}"
    overlay.write_text(f"volumes:\n  conversations: {{driver: local, driver_opts: {options}}}\n")
    return overlay


def until(condition: Callable[[], object]) -> None:
    while not condition():
        time.sleep(0.1)


def is_refused(answer: Answer) -> bool:
    return answer.status == 503 and answer.json()["error"]["code"] == "storage_full"


def store(chat: Chat) -> tuple[str, str] | None:
    """A new conversation and its only text, unless it is refused."""
    text = secrets.token_hex(HALF_OF_AN_ITEM)
    made = chat.ask("/v1/conversations", {"items": [{"role": "user", "content": text}]})
    if is_refused(made):
        return None
    assert made.status == 200, made.body
    return made.json()["id"], text


def texts(chat: Chat, conversation: str) -> list[str]:
    """Oldest first."""
    answer = chat.ask(f"/v1/conversations/{conversation}/items?order=asc")
    assert answer.status == 200, answer.body
    return [item["content"][0]["text"] for item in answer.json()["data"]]


def delete(chat: Chat, conversation: str) -> None:
    assert chat.ask(f"/v1/conversations/{conversation}", method="DELETE").status == 200
    assert chat.ask(f"/v1/conversations/{conversation}").status == 404


def fill(users: tuple[Chat, Chat]) -> list[tuple[Chat, str, str]]:
    """Whose conversations it has stored, and their texts, until one is refused."""
    stored: list[tuple[Chat, str, str]] = []
    while made := store(chat := users[len(stored) % 2]):
        stored.append((chat, *made))
    return stored


def test_users_fill_the_disk_and_make_room_again(small: SmallDisk) -> None:
    before = small.starts
    stored = fill(small.users)
    assert all(is_refused(chat.ask("/v1/responses", QUESTION)) for chat in small.users)
    assert all(texts(chat, conversation) == [text] for chat, conversation, text in stored)
    assert small.health == HEALTHY

    kept = list(stored)
    while is_refused(small.users[0].ask("/v1/responses", QUESTION)):
        if len(kept) > len(stored) / 2:  # enough, once the guard has looked
            chat, conversation, _ = kept.pop()
            delete(chat, conversation)
        else:
            time.sleep(0.1)
    assert all(chat.say("hello")[-1]["type"] == "response.completed" for chat in small.users)
    assert all(texts(chat, conversation) == [text] for chat, conversation, text in kept)
    assert small.starts == before
    [refused] = small.logged(r"(\d+) KiB free, (\d+) needed: new data is refused")
    [accepted] = small.logged(r"(\d+) KiB free, (\d+) needed: new data is accepted again")
    assert 64 * 1024 < int(refused[1]) < int(refused[2])
    assert int(accepted[1]) >= int(accepted[2]) + 4 * 1024
    for chat, conversation, _ in kept:
        delete(chat, conversation)


@pytest.mark.parametrize("watched", [True, False], ids=["watched", "faster-than-the-guard"])
def test_answers_continue_after_something_else_has_filled_the_disk(small: SmallDisk, watched: bool) -> None:
    kept, deleted = store(small.users[0]), store(small.users[0])
    assert kept
    assert deleted
    restarts = small.starts[1]
    streams = [chat.stream("[[tokens=300 pace=0.02]]") for chat in small.users * 2]
    begun = [next(stream) for stream in streams]
    with ThreadPoolExecutor(len(streams)) as readers:
        reading = [readers.submit(list, stream) for stream in streams]
        if not watched:
            small.project.execute("redis", "sh", "-c", STOP_THE_GUARD)
        small.disk.fill()
        until(lambda: watched or small.starts[1] > restarts)
        until(lambda: is_refused(small.users[0].ask("/v1/conversations", {})))
        assert texts(small.users[0], kept[0]) == [kept[1]]
        delete(small.users[0], deleted[0])
        until(lambda: small.health == HEALTHY)
        small.disk.empty()

    for chat, first, rest in zip(small.users * 2, begun, reading, strict=True):
        assert_whole(chat, [first, *rest.result()])
    until(lambda: not is_refused(small.users[0].ask("/v1/responses", QUESTION)))
    assert texts(small.users[0], kept[0]) == [kept[1]]
    assert small.logged("the disk is full: released a piece of the ballast")


def assert_whole(chat: Chat, events: list[dict[str, Any]]) -> None:
    assert events[-1]["type"] == "response.completed", events[-1]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    shown = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    assert texts(chat, events[-1]["response"]["conversation"]["id"])[1:] == [shown]
