import pytest

from engines.scripted.directives import ParsedMessage, parse, parse_message
from engines.scripted.errors import BadDirective
from engines.scripted.generation import plan
from engines.scripted.script import Cut, Failure, Script, Stall
from engines.scripted.template import Message, render
from engines.scripted.tokenizer import encode


def test_all_names_are_parsed() -> None:
    line = "answer=story tokens=5 pace=0.02 first=1 hold=.5 status=503 refuse=1 times=2 on=all error=after:7"
    assert parse(line) == Script(
        answer="story",
        tokens=5,
        pace=0.02,
        first=1.0,
        hold=0.5,
        status=503,
        refuse=True,
        times=2,
        on="all",
        error=Failure(7),
    )


def test_stalls_may_be_repeated() -> None:
    assert parse("stall=after:20,for:3 stall=for:0.5,after:2").stall == (Stall(20, 3.0), Stall(2, 0.5))


@pytest.mark.parametrize(
    ("value", "cut"),
    [
        ("after:33", Cut(33)),
        ("after:0,inside:char", Cut(0, "char")),
        ("by:reset,after:1,inside:gap", Cut(1, "gap", "reset")),
    ],
)
def test_a_cut_says_where_and_how(value: str, cut: Cut) -> None:
    assert parse(f"cut={value}").cut == cut


def test_text_takes_everything_that_follows() -> None:
    assert parse("pace=0 text= a = b  pace=9\n[c] ") == Script(pace=0.0, text="a = b  pace=9\n[c]")


def test_a_message_is_split_into_directive_and_rest() -> None:
    assert parse_message("tell me [[tokens=3]] now") == ParsedMessage(Script(tokens=3), "tell me  now")


@pytest.mark.parametrize("content", ["[[1, 2], [3, 4]]", "[[Wiki link]]", "[[pace]]", "plain", "[[ page=2 ]]"])
def test_other_brackets_are_left_in_the_message(content: str) -> None:
    assert parse_message(content) == ParsedMessage(Script(), content)


@pytest.mark.parametrize(
    "line",
    [
        "tokens=0",
        "tokens=-1",
        "tokens=many",
        "pace=fast",
        "pace=nan",
        "status=200",
        "answer=poem",
        "stall=after:3",
        "stall=for:3",
        "cut=for:3",
        "cut=after:3,inside:out",
        "cut=33",
        "error=after:x",
        "refuse=0",
        "on=some",
        "pace=1 speed=2",
        "pace=1 oops",
    ],
)
def test_an_invalid_directive_is_refused(line: str) -> None:
    with pytest.raises(BadDirective):
        parse_message(f"[[{line}]]")


@pytest.mark.parametrize("line", ["refuse=1", "times=3", "on=all"])
def test_directives_for_several_requests_are_refused_in_a_prompt(line: str) -> None:
    with pytest.raises(BadDirective, match="only in a script posted"):
        parse_message(f"[[pace=0 {line}]]")


def test_a_prompts_content_directives_replace_the_posted_ones() -> None:
    posted = parse("answer=code pace=3 first=1")
    assert posted.overridden_by(parse("tokens=5 pace=0")) == Script(tokens=5, pace=0.0, first=1.0)


def test_faults_of_a_prompt_do_not_apply_to_a_continuation() -> None:
    ids = encode(render([Message("user", "[[cut=after:2 status=500 hold=1 pace=0 text=abcdef]]")]))
    assert plan(ids, Script()).script.faults == (Cut(2),)
    continued = plan([*ids, *encode("ab")], Script())
    assert continued.script == Script(pace=0.0, text="abcdef")
    assert continued.remaining == plan(ids, Script()).remaining[1:]


def test_posted_faults_apply_to_continuations_too() -> None:
    ids = encode(render([Message("user", "[[text=abcdef]]")]))
    assert plan([*ids, *encode("ab")], parse("cut=after:2")).script.cut == Cut(2)
