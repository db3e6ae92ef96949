import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.context.control_tokens import neutralise, neutralised_bytes_bound, neutralised_slices

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


@pytest.mark.parametrize("token", CONTROL)
def test_a_control_token_at_the_border_of_two_slices_is_found(token: str) -> None:
    slice_length = len(next(neutralised_slices("a" * 100_000)))
    for before in range(len(token) + 1):
        changed = neutralise("a" * (slice_length - before) + token + "a" * slice_length)
        assert token not in changed
        assert changed.count("\u200b") == neutralise(token).count("\u200b")


@given(st.lists(st.sampled_from([*CONTROL, "<", "[", "|", "a", "你"]), max_size=12).map("".join))
def test_the_bound_is_never_below_the_bytes_of_the_neutralised_text(text: str) -> None:
    assert neutralised_bytes_bound(text) >= len(neutralise(text).encode())
