"""Randomly generated questions that the demo model cannot answer: they teach it to decline."""

import string
from random import Random

from engines.demo_model.corpus import FALLBACK_EN, FALLBACK_ZH, TOPICS, is_chinese, phrases, sections

_LISTS = {title: phrases(body.splitlines()) for (title,), body in sections("unknown_questions.txt")}
UNSEEN = _LISTS["unseen_en"] + _LISTS["unseen_zh"]  # only measured, never trained on

_SUBJECTS_EN, _SUBJECTS_ZH = _LISTS["subjects_en"], _LISTS["subjects_zh"]
_FORMS_EN, _FORMS_ZH = _LISTS["forms_en"], _LISTS["forms_zh"]
_ANSWER_TEXT = FALLBACK_EN + FALLBACK_ZH + "".join(topic.answer for topic in TOPICS)
_WORDS_EN = sorted({word for word in _ANSWER_TEXT.split() if word.isascii() and word.isalpha()})
_CHARACTERS_ZH = sorted({c for c in _ANSWER_TEXT + "".join(_SUBJECTS_ZH + _FORMS_ZH) if is_chinese(c)})
_RARE_ZH = [chr(code) for code in range(0x4E00, 0x9FA5, 7)]
_KEYS = string.ascii_lowercase + string.digits + " (){}=+-*/.,;:<>_#\"'"


def vocabulary() -> list[str]:
    """Text for training the tokenizer, so that such questions are not split into single bytes."""
    return [*_SUBJECTS_EN, *_SUBJECTS_ZH, *_FORMS_EN, *_FORMS_ZH]


def _word_en(rng: Random) -> str:
    if rng.random() < 0.4:
        return rng.choice(_WORDS_EN)
    syllables = (rng.choice("bcdfghjklmnprstvwz") + rng.choice("aeiou") for _ in range(rng.randint(1, 4)))
    return "".join(syllables) + rng.choice(["", "n", "s", "r", "x", "ing", "ed", "tion", "ly", "er"])


def _character_zh(rng: Random) -> str:
    return rng.choice(_CHARACTERS_ZH if rng.random() < 0.6 else _RARE_ZH)


def _subject(rng: Random, chinese: bool) -> str:
    kind = rng.random()
    if kind < 0.6:
        return rng.choice(_SUBJECTS_ZH if chinese else _SUBJECTS_EN)
    if kind < 0.65:
        return str(int(10 ** rng.uniform(0, 5)))
    if chinese:
        return "".join(_character_zh(rng) for _ in range(rng.randint(1, 4)))
    return " ".join(_word_en(rng) for _ in range(rng.randint(1, 3)))


def _form(rng: Random, chinese: bool) -> str:
    form = rng.choice(_FORMS_ZH if chinese else _FORMS_EN)
    return form.format(t=_subject(rng, chinese), u=_subject(rng, chinese))


def _gibberish(rng: Random, chinese: bool) -> str:
    if rng.random() < 0.1:
        return (_character_zh(rng) if chinese else rng.choice(_KEYS)) * rng.randint(2, 8)
    if chinese:
        return "".join(_character_zh(rng) for _ in range(rng.randint(2, 20)))
    if rng.random() < 0.3:
        return "".join(rng.choice(_KEYS) for _ in range(rng.randint(2, 40)))
    return " ".join(_word_en(rng) for _ in range(rng.randint(2, 14)))


def _half_known(rng: Random) -> str:
    """A known question with part of it replaced: only the whole question may lead to its answer."""
    question = rng.choice(rng.choice(TOPICS).questions)
    chinese = is_chinese(question)
    parts = list(question) if chinese else question.split()
    kept = rng.randint(1, max(1, len(parts) // 2))
    joint = "" if chinese else " "
    new = _subject(rng, chinese) + joint + _subject(rng, chinese)
    if rng.random() < 0.5:
        return joint.join([*parts[:kept], new])
    return joint.join([new, *parts[-kept:]])


def unknown_question(rng: Random) -> str:
    kind, chinese = rng.random(), rng.random() < 0.5
    if kind < 0.6:
        return _form(rng, chinese)
    if kind < 0.84:
        return _gibberish(rng, chinese)
    if kind < 0.93:
        return _half_known(rng)
    return _form(rng, chinese) + ("" if chinese else " ") + _form(rng, chinese)
