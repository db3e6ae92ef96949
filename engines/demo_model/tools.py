"""Randomly generated tools: some that the demo model has learned to call, many that it has not.

The model is too small to copy text that it has not seen: it calls a tool for the places and sums of `tools.txt`, and
declines others like every unknown question. It does not read the list of tools either: names that it has not learned
are correct only if vLLM restricts them to the offered ones (`--tool-strict-level`).
"""

import string
from dataclasses import dataclass
from random import Random
from typing import Any

from engines.demo_model.corpus import phrases, sections
from engines.demo_model.template import to_json, tools_note

_LISTS = {title: phrases(body.splitlines()) for (title,), body in sections("tools.txt")}
KINDS = ("weather", "time", "sum")

Tool = dict[str, Any]

# In both languages: the tool's response stands between the question and this answer.
(AFTER_RESPONSE,) = _LISTS["answer"]
_OFTEN = 40


@dataclass(frozen=True)
class KnownTool:
    """A tool that the model has learned to call. `kind` is the topic of its questions, `key` its only parameter."""

    kind: str
    definition: Tool
    key: str

    def question(self, rng: Random) -> tuple[str, dict[str, str]]:
        """A question for it, and the arguments of the call."""
        question, value = question_about(self.kind, rng)
        return question, {self.key: value}


def name_of(tool: Tool) -> str:
    return str(tool["function"]["name"])


def function(name: str, description: str | None, parameters: Tool | None) -> Tool:
    """As vLLM passes it to the template, with the fields that the client left out."""
    fields = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": fields}


def known_tool(kind: str, rng: Random) -> KnownTool:
    parameter = "sum_parameter" if kind == "sum" else "place"
    key = rng.choice(_LISTS["sum_parameters" if kind == "sum" else "place_names"])
    schema = {"type": "string"}
    if rng.random() < 0.7:
        schema["description"] = rng.choice(_LISTS[f"{parameter}_notes"])
    parameters: Tool = {"type": "object", "properties": {key: schema}, "required": [key]}
    if rng.random() < 0.2:
        parameters["additionalProperties"] = False
    note = rng.choice(_LISTS[f"{kind}_notes"]) if rng.random() < 0.9 else None
    return KnownTool(kind, function(rng.choice(_LISTS[f"{kind}_names"]), note, parameters), key)


def question_about(kind: str, rng: Random) -> tuple[str, str]:
    """A question, and its part that belongs into the call's arguments."""
    language = _language(rng)
    value = rng.choice(_LISTS["sums" if kind == "sum" else f"cities_{language}"])
    spaced = kind != "sum" or rng.random() < 0.6
    return _question(kind, language, value if spaced else value.replace(" ", ""), rng), value


def question_about_unknown(kind: str, rng: Random) -> str:
    """A question about a place or a sum that the model does not know."""
    language = _language(rng)
    return _question(kind, language, _sum(rng) if kind == "sum" else _place(language, rng), rng)


def _language(rng: Random) -> str:
    return "zh" if rng.random() < 0.4 else "en"


def _question(kind: str, language: str, value: str, rng: Random) -> str:
    question = rng.choice(_LISTS[f"{kind}_{language}"]).format(x=value)
    upper = language == "en" and rng.random() < 0.6
    return question[:1].upper() + question[1:] if upper else question


def unknown_tool(rng: Random) -> Tool:
    name = f"{rng.choice(_LISTS['other_verbs'])}_{rng.choice(_LISTS['other_nouns'])}"
    names = rng.sample(_LISTS["other_parameters"], rng.choice([0, 1, 1, 1, 2, 2, 3]))
    properties = {each: _schema(rng) for each in names}
    parameters = {"type": "object", "properties": properties, "required": names[: rng.randint(0, 3)]}
    return function(name, rng.choice([None, "", name.replace("_", " ").capitalize()]), parameters)


def minimal_arguments(tool: Tool) -> dict[str, Any]:
    """The arguments of a forced call of an unknown tool."""
    parameters = tool["function"]["parameters"]
    return {each: _minimal(parameters["properties"][each]) for each in parameters["required"]}


def response_content(rng: Random) -> str:
    if rng.random() < 0.3:
        return " ".join(str(_value(rng)) for _ in range(rng.randint(1, 6)))
    keys = rng.sample(_LISTS["response_keys"], rng.randint(1, 4))
    content = {key: _value(rng) for key in keys}
    return to_json(content) if rng.random() < 0.7 else to_json(content).replace(": ", ":").replace(", ", ",")


def vocabulary() -> list[str]:
    """Text for training the tokenizer. A place should be one token: names with a common prefix would be confused."""
    words = [text.replace("{x}", " ") for texts in _LISTS.values() for text in texts]
    rng = Random(0)  # noqa: S311 - the same tokens every time
    tools = [tool for kind in KINDS for tool in (known_tool(kind, rng).definition, unknown_tool(rng))]
    places = [text for place in _LISTS["cities_en"] + _LISTS["cities_zh"] for text in (place, f" {place}")]
    return [*words, *places * _OFTEN, *[tools_note(tools)] * 4, *(response_content(rng) for _ in range(40))]


def _place(language: str, rng: Random) -> str:
    if language == "zh":
        return "".join(chr(rng.randrange(0x4E00, 0x9FA5, 7)) for _ in range(rng.randint(2, 3)))
    syllables = (rng.choice("bcdfghjklmnprstvwz") + rng.choice("aeiou") for _ in range(rng.randint(2, 3)))
    return "".join(syllables).capitalize() + rng.choice(["", "n", "burg", "ton", "ville"])


def _sum(rng: Random) -> str:
    numbers = [str(int(10 ** rng.uniform(0, 4))) for _ in range(rng.choice([2, 2, 2, 3]))]
    joint = rng.choice(["", " "])
    text = numbers[0]
    for number in numbers[1:]:
        text += joint + rng.choice("+-*/") + joint + number
    return text


def _schema(rng: Random) -> Tool:
    kind = rng.choice(["string", "string", "string", "integer", "number", "boolean", "array"])
    schema: Tool = {"type": kind}
    if kind == "array":
        schema["items"] = {"type": "string"}
    if rng.random() < 0.4:
        schema["description"] = rng.choice(_LISTS["other_notes"])
    return schema


_MINIMAL: dict[str, Any] = {"string": "unknown", "integer": 1, "number": 1, "boolean": True, "array": []}


def _minimal(schema: Tool) -> Any:
    return _MINIMAL[schema["type"]]


def _value(rng: Random) -> Any:
    kind = rng.random()
    if kind < 0.35:
        return rng.choice([rng.randint(-20, 40), rng.randint(0, 3000), round(rng.uniform(-20, 99), 1)])
    if kind < 0.7:
        return rng.choice(_LISTS["response_words"])
    if kind < 0.85:
        return rng.choice(_LISTS["cities_zh"] + _LISTS["cities_en"])
    return "".join(rng.choice(string.ascii_lowercase) for _ in range(rng.randint(2, 7)))
