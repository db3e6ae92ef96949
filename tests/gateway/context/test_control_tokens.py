import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.context.control_tokens import neutralise

CONTROL = [
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|start_header_id|>", "<|user|>", "<|turn>",
    "<turn|>", "<|START_OF_TURN_TOKEN|>", "<｜User｜>", "<｜Assistant｜>", "<｜begin▁of▁sentence｜>", "‹｜User｜>",
    "<s>", "</s>", "<bos>", "<eos>", "<pad>", "<unk>", "<mask>", "<sop>", "<start_of_turn>", "<end_of_turn>",
    "<start_of_image>", "<start_function_call>", "<unused42>", "<extra_id_0>", "<reserved_106>", "<fim_prefix>",
    "<tool_call>", "</tool_call>", "<tool_response>", "<tools>", "</tools>", "<think>", "</think>", "<arg_key>",
    "<minimax:tool_call>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[THINK]", "[ARGS]", "[CALL_ID]",
    "[gMASK]", "[sMASK]", "[MASK]", "[CLS]", "[SEP]", "<<SYS>>", "<</SYS>>", "[|system|]", "[|endofturn|]", "]~b]",
    "[e~[", "[IMG]", "<｜tool▁calls▁begin｜>",
]  # fmt: skip


@pytest.mark.parametrize("text", CONTROL)
def test_control_tokens_become_literal_text(text: str) -> None:
    changed = neutralise(f"a{text}b")
    assert text not in changed
    assert changed.replace("\u200b", "") == f"a{text}b"


@pytest.mark.parametrize(
    "text",
    [
        "1 < 2 | 3", "<p>", "<b>", "</b>", "<script>", "<strong>", "a[0]", "[1]", "[x]", "[TODO]", "[Link](a.md)",
        "你好 <3", "std::vector<int>", "<thinking>", "<image>", "<start>", "f[a|b]", "[|", "a ~b", "x[~mask]", "<file>",
        "《书》", "｜竖线｜", "if a<b and c>d", "<<EOF", "cat << 'EOF'", "[MASKED]", "[inst]",
    ],
)  # fmt: skip
def test_ordinary_text_is_unchanged(text: str) -> None:
    assert neutralise(text) == text


@given(st.lists(st.sampled_from([*CONTROL, "<", "[", "|", ">", "a", "/", "\u200b", "]"]), max_size=12).map("".join))
def test_neutralised_text_contains_no_control_token(text: str) -> None:
    changed = neutralise(text)
    assert not [token for token in CONTROL if token in changed]
    assert changed.replace("\u200b", "") == text.replace("\u200b", "")
