"""Qwen2's pre-tokenization with a small vocabulary."""

from collections.abc import Iterator

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from engines.demo_model import tools, unknown_questions
from engines.demo_model.corpus import FALLBACK_EN, FALLBACK_ZH, SYSTEM_PROMPT, TITLE_PROMPT, TOPICS
from engines.demo_model.template import CALL, CALL_END

END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
VOCABULARY_SIZE = 2048
# One token each, but not control tokens, as in Qwen2.5: vLLM's parser must see them.
_SINGLE_TOKENS = (CALL, CALL_END)
LONGEST_TOKEN = 9  # bytes; longer ones would stream whole phrases at once

# From Qwen2-7B-Instruct's tokenizer.json.
_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _training_text() -> Iterator[str]:
    for topic in TOPICS:
        yield from [topic.answer] * 3
        yield from topic.questions
        yield from (question.capitalize() for question in topic.questions)
    yield from [FALLBACK_EN, FALLBACK_ZH] * 3
    yield from [SYSTEM_PROMPT, "system\nuser\nassistant\n"] * 5
    yield TITLE_PROMPT
    yield from (title for topic in TOPICS for title in topic.titles)
    yield from unknown_questions.vocabulary()
    yield from tools.vocabulary()


def train_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(_PIECES), "isolated")
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, to_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE - len(_SINGLE_TOKENS),
        special_tokens=[END_OF_TEXT, TURN_START, TURN_END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=LONGEST_TOKEN,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_training_text(), trainer)
    tokenizer.add_tokens([AddedToken(text, normalized=False, special=False) for text in _SINGLE_TOKENS])
    return tokenizer
