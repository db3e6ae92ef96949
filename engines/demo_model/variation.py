"""Variations of a question: other words, punctuation, case, politeness, typing errors."""

from random import Random

from engines.demo_model.corpus import PARAPHRASES, Topic, is_chinese, phrases, sections

FRAMES = {title: phrases(body.splitlines()) for (title,), body in sections("frames.txt")}

_ENDS_ZH, _ENDS_EN = ["", "。", "？", "?", "！", "!", "~", "..."], ["", ".", "?", "!", "...", " ?", "!!"]
_BEFORE_ZH = ["请", "请你", "麻烦你", "那么，", "好的，", "帮我", "嗯，", "请问"]
_BEFORE_EN = ["please ", "so ", "ok, ", "well, ", "and ", "now ", "hey, ", "hi, "]
_AFTER_ZH = ["吧", "呢", "呀", "啊", "，谢谢"]
_AFTER_EN = [" please", " now", ", thanks", " for me", " again"]
_PUNCTUATION = "?.!？。！"
_WIDTHS = str.maketrans("，？！", ",?!")


def _letters(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())


_NEVER_TRAINED = {_letters(question) for question, _ in PARAPHRASES}


def _cased(text: str, rng: Random) -> str:
    kind = rng.random()
    if kind < 0.25:
        return text[:1].upper() + text[1:]
    if kind < 0.35:
        return text.lower()
    if kind < 0.40:
        return text.upper()
    return text.title() if kind < 0.45 else text


def _mistyped(text: str, rng: Random) -> str:
    if len(text) < 6:
        return text
    at, kind = rng.randrange(1, len(text) - 1), rng.random()
    if kind < 0.4:
        return text[:at] + text[at + 1 :]
    if kind < 0.8:
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return text[:at] + text[at] + text[at:]


def varied(question: str, rng: Random) -> str:
    if rng.random() < 0.35:
        return question
    chinese = is_chinese(question)
    text = question
    if rng.random() < 0.5:
        text = text.rstrip(_PUNCTUATION) + rng.choice(_ENDS_ZH if chinese else _ENDS_EN)
    text = _cased(text, rng)
    if rng.random() < 0.15:
        text = rng.choice(_BEFORE_ZH if chinese else _BEFORE_EN) + text
    if rng.random() < 0.12:
        text += rng.choice(_AFTER_ZH if chinese else _AFTER_EN)
    if chinese and rng.random() < 0.2:
        text = text.translate(_WIDTHS)
    if rng.random() < 0.06:
        text = rng.choice([" ", "\n", ""]) + text + rng.choice([" ", "\n", "\n\n"])
    return _mistyped(text, rng) if rng.random() < 0.12 else text


def _framed(phrase: str, kind: str, language: str, rng: Random) -> str:
    """In that language, even if the phrase itself has none; never the bare name, which both languages share."""
    question = rng.choice(FRAMES[f"{kind}_{language}"]).format(x=phrase)
    return question if is_chinese(question) == (language == "zh") else _framed(phrase, kind, language, rng)


def random_question(topic: Topic, rng: Random) -> str:
    """A random question that leads to the topic, but never one of its paraphrases."""
    if topic.requests and rng.random() < 0.4:
        question = _framed(rng.choice(topic.requests), "requests", topic.language, rng)
    elif topic.subjects and rng.random() < 0.5:
        question = _framed(rng.choice(topic.subjects), "questions", topic.language, rng)
    else:
        question = rng.choice(topic.questions)
    question = varied(question, rng)
    return random_question(topic, rng) if _letters(question) in _NEVER_TRAINED else question
