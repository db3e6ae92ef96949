import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.context.title import MAX_CHARACTERS, MAX_FIRST_WORDS, clean_title, first_words, title_prompt


@pytest.mark.parametrize(
    ("answer", "title"),
    [
        ("Lighthouses of Alexandria", "Lighthouses of Alexandria"),
        ("  “Lighthouses of Alexandria.”\n", "Lighthouses of Alexandria"),
        ('"Lighthouses".', "Lighthouses"),
        ("**Lighthouses** of `Alexandria`", "Lighthouses of Alexandria"),
        ("# Lighthouses", "Lighthouses"),
        ("*Lighthouses*", "Lighthouses"),
        ("Title: Lighthouses", "Lighthouses"),
        ("Lighthouses<|im_end|>", "Lighthouses"),
        ("<s>Lighthouses</s>", "Lighthouses"),
        ("亚历山大灯塔的历史。", "亚历山大灯塔的历史"),
        ("《灯塔》", "灯塔"),
        ("标题：「灯塔」", "灯塔"),
        ("What is 1.5 + 2?", "What is 1.5 + 2?"),
        ("The user's guide", "The user's guide"),
        ("light\u202ehouses\u0007 \u200b👩\u200d🔬", "lighthouses 👩\u200d🔬"),
        ("a" * MAX_CHARACTERS, "a" * MAX_CHARACTERS),
    ],
)
def test_the_models_answer_becomes_a_title_of_one_line(answer: str, title: str) -> None:
    assert clean_title(answer) == title


@pytest.mark.parametrize(
    "answer", ["", " \n", "。", '""', "**", "<|im_end|>", "one\ntwo", "a\u2028b", "a" * (MAX_CHARACTERS + 1)]
)
def test_an_unusable_answer_gives_no_title(answer: str) -> None:
    assert clean_title(answer) is None


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("How tall was it?", "How tall was it?"),
        ("  用表格比较\n TCP 和 UDP \n", "用表格比较 TCP 和 UDP"),
        ("Explain in detail how a hash table works and why", "Explain in detail how a hash table…"),
        ("Explain in detail how a table, hashed, works", "Explain in detail how a table, hashed…"),
        ("解" * 100, "解" * 39 + "…"),
        (
            "请详细解释一下散列表（hash table）是怎样工作的，以及为什么扩大它的时候并不昂贵，并举几个例子",
            "请详细解释一下散列表（hash table）是怎样工作的，以及为什么扩大它的时…",
        ),
        ("https://example.org/" + "x" * 100, "https://example.org/" + "x" * 19 + "…"),
        ("x" * 38 + "👩\u200d🔬" + "y" * 10, "x" * 38 + "…"),
        ("x" * 38 + "e\u0301" + "y" * 10, "x" * 38 + "…"),
        ("a\u202eb\x00c", "abc"),
        ("", ""),
    ],
)
def test_the_first_words_are_cut_between_words_or_characters(question: str, words: str) -> None:
    assert first_words(question) == words


@given(st.text(max_size=200))
def test_first_words_are_one_short_line_of_any_question(question: str) -> None:
    words = first_words(question)
    assert len(words) <= MAX_FIRST_WORDS
    assert len(words.splitlines()) <= 1


@given(st.text(max_size=100))
def test_a_title_is_one_short_line_for_any_answer(answer: str) -> None:
    title = clean_title(answer)
    assert title is None or (1 <= len(title) <= MAX_CHARACTERS and len(title.splitlines()) == 1)


def test_the_prompt_holds_the_beginning_of_the_exchange() -> None:
    instruction, exchange = title_prompt("q" * 5000, "a" * 5000)
    assert (instruction.role, exchange.role) == ("system", "user")
    assert exchange.text == "q" * 2000 + "\n\n" + "a" * 600
