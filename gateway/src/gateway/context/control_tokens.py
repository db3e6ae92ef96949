"""Control tokens of models in text that users write: an invisible character makes them plain text to the tokenizer."""

import re
from collections.abc import Iterator

# By family, for the models that vLLM serves. A zero-width space follows the first character of each: the words stay
# readable, and the tokenizer sees plain text. All repetitions are bounded, so the cost is linear in the text's length.
_TAGS = (
    # <turn|>
    r"/?\w{1,40}[|｜]>",
    # <s>, <eos>, <start_of_turn>, <unused7>: SentencePiece, Gemma, GLM, T5, Baichuan
    r"/?(?:s|pad|unk|mask|bos|eos|cls|sep|[se]op|eo[ah])>",
    r"(?:start|end)_(?:of|function)_\w{1,40}>",
    r"(?:unused|extra_id_|reserved_|TOKENS_UNUSED_)\d{1,6}>",
    r"(?:fim|repo|file|image|video|audio)_\w{1,40}>",
    # <tool_call>, <think>, <minimax:tool_call>: added to a vocabulary, or read by an output parser
    r"/?(?:\w{1,20}:)?(?:tool_calls?|tool_responses?|tools|think|arg_key|arg_value)>",
    # <<SYS>>: Llama 2
    r"</?SYS>>",
)
_BRACKETS = (
    # [INST], [/TOOL_RESULTS], [gMASK]: Mistral, BERT, GLM
    r"/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|MODEL_SETTINGS|TOOL_(?:CALLS|RESULTS|CONTENT))\]",
    r"/?(?:ARGS|CALL_ID|THINK|IMG\w{0,9}|[gs]?MASK|CLS|SEP|PAD|UNK|BOS|EOS|PREFIX|MIDDLE|SUFFIX)\]",
    # [|system|], [e~[: EXAONE, MiniMax
    r"\|\w{1,40}\|\]",
    r"e~\[",
)
_CONTROL = re.compile(
    # Most of these characters in a text, and in a flood of them, are refused by the one that follows.
    r"[<＜‹](?=[|｜])"  # <|im_start|>, <|turn>, <｜User｜>: ChatML, Llama 3, Phi, Command, DeepSeek
    rf"|<(?=/?[\w<])(?=/?\w|</?S)(?=(?:{'|'.join(_TAGS)}))"
    rf"|\[(?=[/A-Zgse|])(?=(?:{'|'.join(_BRACKETS)}))"
    r"|\](?=~[!b])"  # ]~b]: MiniMax
)
# The longest lookahead, `<minimax:tool_responses>` with twenty characters before the colon, has fewer.
_MAX_TOKEN_LENGTH = 64
_SLICE_CHARACTERS = 16_384
_ZERO_WIDTH_SPACE = "\u200b"
_ZERO_WIDTH_SPACE_BYTES = 3  # in UTF-8


# Characters that may begin a control token.
_FIRST = "<＜‹[]"


def neutralise(text: str) -> str:
    return "".join(neutralised_slices(text))


def neutralised_slices(text: str) -> Iterator[str]:
    """The pieces of `neutralise(text)`, for a caller with other work between them: each takes a few milliseconds at
    most."""
    for start in range(0, len(text), _SLICE_CHARACTERS):
        yield _neutralise(text, start, min(start + _SLICE_CHARACTERS, len(text)))


def _neutralise(text: str, start: int, end: int) -> str:
    pieces, done = [], start
    # A token may begin here and end in the next slice.
    for match in _CONTROL.finditer(text, start, end + _MAX_TOKEN_LENGTH):
        if match.start() >= end:
            break
        pieces.append(text[done : match.end()])
        done = match.end()
    pieces.append(text[done:end])
    return _ZERO_WIDTH_SPACE.join(pieces)


def neutralised_bytes_bound(text: str) -> int:
    """At least the length of `neutralise(text)` in UTF-8, without looking for tokens."""
    begun = sum(text.count(first) for first in _FIRST)
    return len(text.encode()) + begun * _ZERO_WIDTH_SPACE_BYTES
