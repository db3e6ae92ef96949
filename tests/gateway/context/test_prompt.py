import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.context.control_tokens import neutralise
from gateway.context.prompt import (
    ContextWindow,
    Exchange,
    PromptHistory,
    TokenCountCheckpoint,
    assemble,
    characters_in,
    fit_window,
    max_token_bound,
    merge_adjacent_roles,
    prompt_messages,
    reuse_token_count,
    split_exchanges,
)
from gateway.errors import ContextLengthExceeded
from gateway.inference import PromptMessage, PromptToolCall, TokenizedPrompt
from gateway.protocol.ids import new_item_id
from gateway.protocol.items import (
    Compaction,
    FunctionCall,
    FunctionCallOutput,
    InputText,
    Item,
    Message,
    MessageRole,
    Reasoning,
    ReasoningText,
)

SYSTEM = PromptMessage("system", "s" * 10)
ROOM = 20
# All of a conversation in these tests.
MANY = 100_000
# A chat template's own tokens around a message; max_token_bound allows for more.
TEMPLATE_TOKENS = 9


def user(text: str) -> PromptMessage:
    return PromptMessage("user", text)


def assistant(text: str) -> PromptMessage:
    return PromptMessage("assistant", text)


def exchange(question: int, answer: int) -> Exchange:
    return (user("u" * question), assistant("a" * answer))


def message(text: str, role: MessageRole = "user", position: int = 1) -> Message:
    return Message(new_item_id("msg", position), role, "completed", (InputText(text),))


def messages_of(*items: Item) -> list[PromptMessage]:
    return prompt_messages(items, lambda compaction: f"decrypted {compaction.encrypted_content}")


class LetterCounter:
    """Each letter is a token. `calls`: how often it has counted."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.calls = 0

    async def __call__(self, prompts: tuple[PromptMessage, ...]) -> TokenizedPrompt:
        self.calls += 1
        return TokenizedPrompt(sum(len(prompt.text) for prompt in prompts), self.limit)


async def window(exchanges: list[Exchange], limit: int) -> tuple[ContextWindow, LetterCounter]:
    count = LetterCounter(limit)
    return await fit_window([SYSTEM], exchanges, count=count, wanted_room=ROOM, characters=MANY), count


async def test_a_short_conversation_is_sent_whole_after_one_count() -> None:
    exchanges = [exchange(5, 5), (user("uuu"),)]
    found, count = await window(exchanges, limit=100)
    assert found.messages == (SYSTEM, *exchanges[0], *exchanges[1])
    assert (found.room, found.exchanges_left_out, count.calls) == (100 - 23, 0, 1)


async def test_the_oldest_exchanges_are_left_out_first_and_the_system_prompt_never() -> None:
    exchanges = [exchange(20, 20), exchange(20, 20), (user("u" * 10),)]
    found, _ = await window(exchanges, limit=80)
    assert found.messages == (SYSTEM, *exchanges[1], *exchanges[2])
    assert found.exchanges_left_out == 1


async def test_the_last_exchange_is_sent_even_with_little_room_left() -> None:
    found, _ = await window([(user("u" * 85),)], limit=100)
    assert found.room == 5


async def test_a_prompt_that_leaves_no_room_is_refused_with_both_numbers() -> None:
    with pytest.raises(ContextLengthExceeded) as caught:
        await window([exchange(5, 5), (user("u" * 90),)], limit=100)
    assert (caught.value.tokens, caught.value.limit) == (100, 100)
    assert "100" in caught.value.message


async def test_a_long_conversation_is_refused_if_nothing_may_be_left_out() -> None:
    exchanges = [exchange(40, 40), (user("u" * 15),)]
    with pytest.raises(ContextLengthExceeded):
        await fit_window(
            [SYSTEM], exchanges, count=LetterCounter(100), wanted_room=ROOM, may_leave_out=False, characters=MANY
        )
    whole = await fit_window(
        [SYSTEM], exchanges, count=LetterCounter(110), wanted_room=ROOM, may_leave_out=False, characters=MANY
    )
    assert (whole.room, whole.exchanges_left_out) == (5, 0)


async def test_a_refused_conversation_is_counted_whole() -> None:
    exchanges = [exchange(50, 50)] * 10
    with pytest.raises(ContextLengthExceeded) as caught:
        await fit_window([], exchanges, count=LetterCounter(100), wanted_room=ROOM, may_leave_out=False, characters=100)
    assert caught.value.tokens == 1000


async def test_an_engine_that_cannot_count_gets_everything() -> None:
    async def unknown(_: tuple[PromptMessage, ...]) -> None:
        return None

    found = await fit_window([SYSTEM], [exchange(5, 5)], count=unknown, wanted_room=ROOM, characters=MANY)
    assert found.room is None
    assert len(found.messages) == 3


async def test_at_most_half_of_a_small_context_is_reserved_for_the_answer() -> None:
    exchanges = [exchange(5, 5), (user("uu"),)]
    found = await fit_window([], exchanges, count=LetterCounter(24), wanted_room=1000, characters=MANY)
    assert (found.exchanges_left_out, found.room) == (0, 12)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=40), st.integers(60, 400))
async def test_the_window_is_the_longest_that_leaves_room(sizes: list[int], limit: int) -> None:
    exchanges = [exchange(size, size) for size in sizes[:-1]] + [(user("u" * sizes[-1]),)]
    found, count = await window(exchanges, limit)

    def room(left_out: int) -> int:
        return limit - 10 - sum(len(prompt.text) for one in exchanges[left_out:] for prompt in one)

    expected = next((one for one in range(len(exchanges)) if room(one) >= ROOM), len(exchanges) - 1)
    assert found.exchanges_left_out == expected
    assert found.room == room(expected)
    assert count.calls <= len(exchanges).bit_length() + 2


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=30), st.integers(1, 300))
async def test_a_prompt_is_below_the_limit_by_less_than_one_exchange(sizes: list[tuple[int, int]], limit: int) -> None:
    exchanges = [exchange(*size) for size in sizes]
    try:
        found, _ = await window(exchanges, limit)
    except ContextLengthExceeded:
        assert len(SYSTEM.text) + sum(sizes[-1]) >= limit
        return
    assert found.count is not None
    assert found.count == sum(len(prompt.text) for prompt in found.messages) < limit
    if found.exchanges_left_out:
        next_older = sum(sizes[found.exchanges_left_out - 1])
        assert found.count + next_older > limit - min(ROOM, limit // 2)


def test_items_become_messages_that_a_chat_template_supports() -> None:
    call = FunctionCall("fc_1", "call_1", "add", '{"a":1}', "completed")
    reasoning = Reasoning("rs_1", "completed", content=(ReasoningText("hm"),))
    assert messages_of(
        message("be brief", "developer"),
        message("1+1?"),
        reasoning,
        call,
        FunctionCallOutput("fco_1", "call_1", "2", "completed"),
        message("2", "assistant"),
        message("", "assistant"),
        Compaction("cmp_1", "x"),
    ) == [
        PromptMessage("system", "be brief"),
        user("1+1?"),
        PromptMessage("assistant", "", (PromptToolCall("call_1", "add", '{"a":1}'),)),
        PromptMessage("tool", "2", call_id="call_1"),
        assistant("2"),
        PromptMessage("system", "decrypted x"),
    ]


def test_an_exchange_is_a_question_with_everything_that_answers_it() -> None:
    one, two = exchange(1, 1), exchange(2, 2)
    called = (
        user("1+1?"),
        PromptMessage("assistant", "", (PromptToolCall("c", "add", "{}"),)),
        PromptMessage("tool", "2", call_id="c"),
    )
    unanswered = user("again")
    assert split_exchanges([*one, unanswered, *called, assistant("2"), *two]) == [
        one,
        (unanswered,),
        (*called, assistant("2")),
        two,
    ]


def test_leading_instructions_belong_to_no_exchange_and_later_ones_to_the_next() -> None:
    prompt, summary, later = (
        PromptMessage("system", text) for text in ("be brief", "a summary", "from now on in English")
    )
    one, two, now = exchange(1, 1), exchange(2, 2), user("now")
    assert assemble([prompt, summary, *one, later, *two], [now]) == PromptHistory(
        (prompt, summary), (one, (later, *two), (now,))
    )


async def test_leading_instructions_are_sent_and_counted_in_a_long_conversation() -> None:
    first = PromptMessage("system", "f" * 10)
    conversation = assemble([first, *exchange(20, 20) * 5], [user("u" * 10)])
    found = await fit_window(
        conversation.head, conversation.exchanges, count=LetterCounter(100), wanted_room=ROOM, characters=MANY
    )
    assert found.messages == (first, *exchange(20, 20), user("u" * 10))
    assert (found.count, found.exchanges_left_out) == (60, 4)


async def test_leading_instructions_that_leave_no_room_are_refused_with_both_numbers() -> None:
    conversation = assemble([PromptMessage("system", "f" * 95), *exchange(1, 1)], [user("uuuuu")])
    with pytest.raises(ContextLengthExceeded) as caught:
        await fit_window(
            conversation.head, conversation.exchanges, count=LetterCounter(100), wanted_room=ROOM, characters=MANY
        )
    assert (caught.value.tokens, caught.value.limit) == (100, 100)


@given(st.lists(st.integers(1, 200), min_size=1, max_size=60), st.integers(1, 80), st.integers(60, 800))
async def test_little_more_of_a_long_conversation_is_counted_than_fits(
    sizes: list[int], first: int, limit: int
) -> None:
    exchanges, counted = [exchange(size, size) for size in sizes], []

    async def count(messages: tuple[PromptMessage, ...]) -> TokenizedPrompt:
        counted.append(sum(len(prompt.text) for prompt in messages))
        return TokenizedPrompt(counted[-1], limit)

    try:
        found = await fit_window([], exchanges, count=count, wanted_room=ROOM, characters=first)
    except ContextLengthExceeded:
        assert counted[-1] >= limit
        return
    whole = await fit_window([], exchanges, count=LetterCounter(limit), wanted_room=ROOM, characters=MANY)
    assert found == whole
    assert max(counted) <= 2 * max(first, characters_in([found.messages])) + 2 * max(sizes)
    assert len(counted) <= 2 * len(sizes).bit_length() + sum(sizes).bit_length() + 3


@given(st.lists(st.sampled_from(["user", "assistant", "system", "tool"]), max_size=30))
def test_splitting_into_exchanges_keeps_every_message_in_order(roles: list[str]) -> None:
    before = [PromptMessage(role, str(number)) for number, role in enumerate(roles)]  # type: ignore[arg-type]
    assert [prompt for one in split_exchanges(before) for prompt in one] == before
    conversation = assemble(before, [user("now")])
    sent = [*conversation.head, *(prompt for one in conversation.exchanges for prompt in one)]
    assert sent == [*before, user("now")]
    assert all(split_exchanges(before))


def test_the_new_input_is_an_exchange_of_its_own() -> None:
    messages = [PromptMessage("system", "be brief"), user("one"), user("two")]
    assert assemble(exchange(1, 1), messages) == PromptHistory((), (exchange(1, 1), tuple(messages)))


def test_a_tool_output_belongs_to_the_exchange_with_its_call() -> None:
    called = (user("1+1?"), PromptMessage("assistant", "", (PromptToolCall("c", "add", "{}"),)))
    result = PromptMessage("tool", "2", call_id="c")
    assert assemble([*exchange(1, 1), *called], [result]) == PromptHistory((), (exchange(1, 1), (*called, result)))
    assert assemble([], [result]) == PromptHistory((), ((result,),))


def test_unanswered_questions_are_merged_so_that_roles_alternate() -> None:
    messages = [user("one"), user("two"), assistant("2"), user("three")]
    assert merge_adjacent_roles(messages) == (user("one\n\ntwo"), assistant("2"), user("three"))


def test_calls_are_merged_with_the_text_before_them_and_outputs_with_nothing() -> None:
    call, other = PromptToolCall("c", "add", "{}"), PromptToolCall("d", "sub", "{}")
    results = PromptMessage("tool", "2", call_id="c"), PromptMessage("tool", "0", call_id="d")
    messages = [
        user("?"),
        assistant("Let me see"),
        PromptMessage("assistant", "", (call,)),
        PromptMessage("assistant", "", (other,)),
    ]
    assert merge_adjacent_roles([*messages, *results]) == (
        user("?"),
        PromptMessage("assistant", "Let me see", (call, other)),
        *results,
    )


def true_count(items: list[Message]) -> int:
    """Of an engine whose tokens are bytes."""
    return sum(len(neutralise(item.text).encode()) + TEMPLATE_TOKENS for item in items)


def bound(items: object) -> int:
    return max_token_bound(messages_of(*items))  # type: ignore[misc]


def checkpoint(items: list[Message]) -> TokenCountCheckpoint:
    return TokenCountCheckpoint(true_count(items), 4096, len(items), len(items), "shape")


TEXTS = st.lists(st.text("ab你👋<|s>", min_size=1, max_size=9), max_size=12)


@given(TEXTS, TEXTS)
def test_the_bound_from_a_checkpoint_is_never_below_the_true_count(counted: list[str], since: list[str]) -> None:
    items = [message(text, position=number) for number, text in enumerate(counted + since, 1)]
    most = reuse_token_count(checkpoint(items[: len(counted)]), "shape", items, bound)
    assert most is not None
    assert true_count(items) <= most <= true_count(items) + 32 * len(since)


@given(TEXTS)
def test_the_token_bound_is_never_below_the_true_count(texts: list[str]) -> None:
    items = [message(text) for text in texts]
    sent = merge_adjacent_roles(messages_of(*items))
    assert sum(len(neutralise(prompt.text).encode()) + TEMPLATE_TOKENS for prompt in sent) <= bound(items)


@given(TEXTS.filter(len), st.data())
def test_a_checkpoint_does_not_apply_once_an_item_was_removed_or_inserted(
    texts: list[str], data: st.DataObject
) -> None:
    items = [message(text, position=2 * number) for number, text in enumerate(texts, 1)]
    known = TokenCountCheckpoint(true_count(items), 4096, len(items), 2 * len(items), "shape")
    place = data.draw(st.integers(0, len(items) - 1))
    late = message("late", position=2 * place + 1)
    assert reuse_token_count(known, "shape", items[:place] + items[place + 1 :], bound) is None
    assert reuse_token_count(known, "shape", [*items[:place], late, *items[place:]], bound) is None


def test_a_checkpoint_applies_only_to_its_own_prompt_digest() -> None:
    items = [message("a")]
    assert reuse_token_count(None, "shape", items, bound) is None
    assert reuse_token_count(checkpoint(items), "other", items, bound) is None


def test_the_token_bound_includes_the_name_and_arguments_of_a_call() -> None:
    plain = max_token_bound([assistant("")])
    assert (
        max_token_bound([PromptMessage("assistant", "", (PromptToolCall("c", "add", "你"),))]) > plain + len("add") + 3
    )
