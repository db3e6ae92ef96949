import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.conversation import Count, Exchange, Prompt, Window, alternating, exchanges, fit, neutralised
from gateway.errors import ContextLengthExceeded

SYSTEM = Prompt("system", "s" * 10)


def exchange(question: int, answer: int) -> Exchange:
    return (Prompt("user", "u" * question), Prompt("assistant", "a" * answer))


class Letters:
    """Counts a letter as a token, and how often it was asked."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.asked = 0

    async def __call__(self, prompts: tuple[Prompt, ...]) -> Count:
        self.asked += 1
        return Count(sum(len(prompt.text) for prompt in prompts), self.limit)


async def window(turns: list[Exchange], limit: int, room: int = 20) -> tuple[Window, Letters]:
    count = Letters(limit)
    return await fit(SYSTEM, turns, count=count, room_wanted=room), count


async def test_a_short_conversation_is_sent_whole_for_one_count() -> None:
    turns = [exchange(5, 5), (Prompt("user", "uuu"),)]
    found, count = await window(turns, limit=100)
    assert found.prompts == (SYSTEM, *turns[0], *turns[1])
    assert (found.room, found.exchanges_left_out, count.asked) == (100 - 23, 0, 1)


async def test_the_oldest_whole_turns_go_first_and_the_system_prompt_never() -> None:
    turns = [exchange(20, 20), exchange(20, 20), (Prompt("user", "u" * 10),)]
    found, _ = await window(turns, limit=80)
    assert found.prompts == (SYSTEM, *turns[1], *turns[2])
    assert found.exchanges_left_out == 1


async def test_the_last_turn_is_sent_even_with_little_room_left() -> None:
    found, _ = await window([(Prompt("user", "u" * 85),)], limit=100)
    assert found.room == 5


async def test_a_message_longer_than_the_context_is_refused_with_both_numbers() -> None:
    with pytest.raises(ContextLengthExceeded) as caught:
        await window([exchange(5, 5), (Prompt("user", "u" * 200),)], limit=100)
    assert (caught.value.tokens, caught.value.limit) == (210, 100)


async def test_where_nothing_may_be_left_out_a_long_conversation_is_refused() -> None:
    turns = [exchange(40, 40), (Prompt("user", "u" * 15),)]
    with pytest.raises(ContextLengthExceeded):
        await fit(SYSTEM, turns, count=Letters(100), room_wanted=20, may_leave_out=False)
    whole = await fit(SYSTEM, turns, count=Letters(110), room_wanted=20, may_leave_out=False)
    assert (whole.room, whole.exchanges_left_out) == (5, 0)


async def test_an_engine_that_cannot_count_gets_everything() -> None:
    async def unknown(_: tuple[Prompt, ...]) -> None:
        return None

    found = await fit(SYSTEM, [exchange(5, 5)], count=unknown, room_wanted=20)
    assert found.room is None
    assert len(found.prompts) == 3


@given(st.lists(st.integers(1, 30), min_size=1, max_size=40), st.integers(100, 400))
async def test_the_window_is_the_longest_that_leaves_room(sizes: list[int], limit: int) -> None:
    turns = [exchange(size, size) for size in sizes[:-1]] + [(Prompt("user", "u" * sizes[-1]),)]
    found, count = await window(turns, limit)

    def room(left_out: int) -> int:
        return limit - 10 - sum(len(prompt.text) for turn in turns[left_out:] for prompt in turn)

    expected = next((one for one in range(len(turns)) if room(one) >= 20), len(turns) - 1)
    assert found.exchanges_left_out == expected
    assert found.room == room(expected)
    assert count.asked <= len(turns).bit_length() + 2


def test_a_turn_is_a_question_with_its_answer() -> None:
    one, two = exchange(1, 1), exchange(2, 2)
    unanswered = Prompt("user", "again")
    assert exchanges([*one, unanswered, *two]) == [one, (unanswered,), two]


def test_what_is_sent_alternates_although_a_question_was_never_answered() -> None:
    asked = [Prompt("user", "one"), Prompt("user", "two"), Prompt("assistant", "2"), Prompt("user", "three")]
    assert alternating(asked) == (Prompt("user", "one\n\ntwo"), Prompt("assistant", "2"), Prompt("user", "three"))


@pytest.mark.parametrize(
    "text", ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<s>", "</s>", "[INST]", "[/INST]", "<|eot_id|>"]
)
def test_control_tokens_become_literal_text(text: str) -> None:
    changed = neutralised(f"a{text}b")
    assert text not in changed
    assert changed.replace("\u200b", "") == f"a{text}b"


@pytest.mark.parametrize("text", ["1 < 2 | 3", "<p>", "a[0]", "你好 <3", "std::vector<int>"])
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert neutralised(text) == text
