"""The title of a conversation: one short line."""

import re
import unicodedata

from gateway.inference import PromptMessage

MAX_CHARACTERS = 60
MAX_FIRST_WORDS = 40
_QUESTION_CHARACTERS = 2_000
_ANSWER_CHARACTERS = 600

INSTRUCTION = (
    "Answer with a title of at most six words for this conversation, in its language. No quotes, no full stop."
)

_CONTROL_TOKEN = re.compile(r"<\|[^<>|]{0,40}\|>|</?s>|\[/?INST\]")
_MARKUP = re.compile(r"\*\*|__|`|^#{1,6}\s|^[-*+]\s", re.MULTILINE)
_LABEL = re.compile(r"^(?:title|标题|標題)\s*[:：]\s*", re.IGNORECASE)
_QUOTES = "\"'“”„‘’«»‹›「」『』《》＂＇"
_STOPS = ".。．"

_JOINERS = frozenset("\u200c\u200d")
_INVISIBLE = frozenset({"Cc", "Cf", "Cs"})


def title_prompt(question: str, answer: str) -> tuple[PromptMessage, ...]:
    """The request to the model. The beginnings of question and answer are enough."""
    exchange = f"{question[:_QUESTION_CHARACTERS]}\n\n{answer[:_ANSWER_CHARACTERS]}"
    return PromptMessage("system", INSTRUCTION), PromptMessage("user", exchange)


def clean_title(answer: str) -> str | None:
    """The model's answer as a title; None if it is empty, too long, or more than one line."""
    bare = _MARKUP.sub("", _CONTROL_TOKEN.sub("", answer)).strip()
    if len(bare.splitlines()) != 1:
        return None
    title = _on_one_line(bare)
    while title != (shorter := _LABEL.sub("", title).strip(_QUOTES + "*_ ").rstrip(_STOPS)):
        title = shorter
    return title if 0 < len(title) <= MAX_CHARACTERS else None


def first_words(question: str) -> str:
    """At most 40 characters, cut between words, or between characters where the script has no spaces."""
    text = _on_one_line(question[:_QUESTION_CHARACTERS])
    if len(text) <= MAX_FIRST_WORDS:
        return text
    longest = MAX_FIRST_WORDS - 1
    between_words = (at for at in range(longest, longest // 2, -1) if _between_words(text, at))
    between_characters = (at for at in range(longest, 0, -1) if _between_characters(text, at))
    cut = next(between_words, None) or next(between_characters, longest)
    return text[:cut].rstrip(" ,;:，、；：") + "…"


def _on_one_line(text: str) -> str:
    """Without invisible characters, such as those that change the direction of the text after them."""
    line = " ".join(text.split())
    return "".join(one for one in line if one in _JOINERS or unicodedata.category(one) not in _INVISIBLE).strip()


def _between_words(text: str, at: int) -> bool:
    if not _between_characters(text, at):
        return False
    return any(one == " " or unicodedata.east_asian_width(one) in "WF" for one in text[at - 1 : at + 1])


def _between_characters(text: str, at: int) -> bool:
    """A letter and its accents, or the parts of an emoji, are one character to a reader."""
    before, after = text[at - 1], text[at]
    skin_tone = "\U0001f3fb" <= after <= "\U0001f3ff"
    return not (before in _JOINERS or after in _JOINERS or skin_tone or unicodedata.category(after) in {"Mn", "Me"})
