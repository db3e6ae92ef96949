"""Control tokens of models in what people write: told apart from the model's own by a character nobody sees."""

import re

_CONTROL = re.compile(r"<(?=\|)|<(?=/?s>)|\[(?=/?INST\])|<(?=/?(?:tool_call|tool_response|tools|think)>)")
_ZERO_WIDTH_SPACE = "\u200b"


def neutralised(text: str) -> str:
    return _CONTROL.sub(lambda match: match[0] + _ZERO_WIDTH_SPACE, text)
