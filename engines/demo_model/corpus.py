"""The demo model's knowledge: some answers, each with the questions that lead to it.

The texts are in text/. EXCHANGES is the list of (question, answer) for tests.
This module needs only the standard library.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TEXT = Path(__file__).parent / "text"
SYSTEM_PROMPT = "你是一位得力的助手。"
# The gateway's prompt for a title; the user's message and the start of the answer follow as a user turn.
TITLE_PROMPT = (
    "Answer with a title of at most six words for this conversation, in its language. No quotes, no full stop."
)
TITLED_CHARACTERS = 600
CONTEXT_TOKENS = 4096


@dataclass(frozen=True)
class Topic:
    """One answer and the questions that lead to it. Paraphrases are never trained on: they measure generalisation."""

    name: str
    answer: str
    questions: tuple[str, ...]
    requests: tuple[str, ...]  # what one may ask *for*: "a poem"
    subjects: tuple[str, ...]  # what one may ask *about*: "Parley"
    paraphrases: tuple[str, ...]
    titles: tuple[str, ...]  # of a conversation that starts with it; a second one is for questions in Chinese

    @property
    def language(self) -> str:
        return self.name[-2:]


def is_chinese(text: str) -> bool:
    return any("\u4e00" <= character <= "\u9fff" for character in text)


def sections(name: str) -> Iterator[tuple[list[str], str]]:
    """A file in text/ is a sequence of sections: `=== title`, more head lines, an empty line, the body."""
    text = (TEXT / name).read_text(encoding="utf-8")
    for section in text.removeprefix("=== ").split("\n=== "):
        head, body = section.split("\n\n", maxsplit=1)
        yield head.splitlines(), body.strip("\n")


def phrases(lines: list[str]) -> tuple[str, ...]:
    return tuple(phrase for line in lines for phrase in line.split(" | "))


def _topics(language: str) -> Iterator[Topic]:
    for (name, *lines), answer in sections(f"topics.{language}.txt"):
        marked = {mark: phrases([line[2:] for line in lines if line.startswith(mark)]) for mark in "?+*~#"}
        yield Topic(f"{name}_{language}", answer, *(marked[mark] for mark in "?+*~#"))


def title_of(topic: Topic, question: str) -> str:
    return topic.titles[-1] if is_chinese(question) else topic.titles[0]


def first_exchange(question: str, answer: str) -> str:
    """The user turn of the prompt for a title."""
    return f"{question}\n\n{answer[:TITLED_CHARACTERS]}"


_ALL = (*_topics("zh"), *_topics("en"))
_ANSWERS = {topic.name: topic.answer for topic in _ALL}

TOPICS = tuple(topic for topic in _ALL if topic.questions)
EXCHANGES = tuple((question, topic.answer) for topic in TOPICS for question in topic.questions)
TITLES = tuple((question, topic.answer, title_of(topic, question)) for topic in TOPICS for question in topic.questions)
PARAPHRASES = tuple((question, topic.answer) for topic in TOPICS for question in topic.paraphrases)

GREETING_ZH = _ANSWERS["greeting_zh"]
INTRODUCTION_ZH = _ANSWERS["introduction_zh"]
STORY_ZH = _ANSWERS["story_zh"]
FALLBACK_ZH = _ANSWERS["fallback_zh"]
FALLBACK_EN = _ANSWERS["fallback_en"]


def fallback(question: str) -> str:
    """The answer to a question outside the corpus."""
    return FALLBACK_ZH if is_chinese(question) else FALLBACK_EN
