"""Control tokens of models in text that users write: an invisible character makes them plain text to the tokenizer."""

import re

# By family, for the models that vLLM serves. A zero-width space follows the first character of each: the words stay
# readable, and the tokenizer sees plain text. All repetitions are bounded, so the cost is linear in the text's length.
_CONTROL = re.compile(
    "|".join(
        (
            # <|im_start|>, <|turn>, <｜User｜>: ChatML, Llama 3, Phi, Command, DeepSeek; anything may follow the bar
            r"[<＜‹](?=[|｜])",
            # <turn|>
            r"<(?=/?\w{1,40}[|｜]>)",
            # <s>, <eos>, <start_of_turn>, <unused7>: SentencePiece, Gemma, GLM, T5, Baichuan
            r"<(?=/?(?:s|pad|unk|mask|bos|eos|cls|sep|[se]op|eo[ah])>)",
            r"<(?=(?:start|end)_(?:of|function)_\w{1,40}>)",
            r"<(?=(?:unused|extra_id_|reserved_|TOKENS_UNUSED_)\d{1,6}>)",
            r"<(?=(?:fim|repo|file|image|video|audio)_\w{1,40}>)",
            # <tool_call>, <think>, <minimax:tool_call>: added to a vocabulary, or read by an output parser
            r"<(?=/?(?:\w{1,20}:)?(?:tool_calls?|tool_responses?|tools|think|arg_key|arg_value)>)",
            # [INST], [/TOOL_RESULTS], [gMASK]: Mistral, BERT, GLM
            r"\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|MODEL_SETTINGS|TOOL_(?:CALLS|RESULTS|CONTENT))\])",
            r"\[(?=/?(?:ARGS|CALL_ID|THINK|IMG\w{0,9}|[gs]?MASK|CLS|SEP|PAD|UNK|BOS|EOS|PREFIX|MIDDLE|SUFFIX)\])",
            # <<SYS>>, [|system|], ]~b]: Llama 2, EXAONE, MiniMax
            r"<(?=</?SYS>>)",
            r"\[(?=\|\w{1,40}\|\])",
            r"\](?=~[!b])|\[(?=e~\[)",
        )
    )
)
_ZERO_WIDTH_SPACE = "\u200b"


def neutralise(text: str) -> str:
    return _CONTROL.sub(lambda match: match[0] + _ZERO_WIDTH_SPACE, text)
