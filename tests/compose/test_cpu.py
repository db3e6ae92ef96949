"""`compose.cpu.yaml`: real vLLM without a GPU, with the demo model."""

import pytest

from tests.compose.chat import Chat

pytestmark = [pytest.mark.compose, pytest.mark.timeout(600)]


def test_the_demo_model_answers_a_greeting_on_real_vllm_in_a_container(cpu_chat: Chat) -> None:
    last = cpu_chat.say("你好")[-1]
    assert last["type"] == "response.completed", last
    assert last["response"]["output"][0]["content"][0]["text"].startswith("你好")
