import hashlib
import io
import json
import re
import subprocess
from contextlib import redirect_stdout
from pathlib import Path
from random import Random
from typing import Any

import pytest

from dev import engine_commands
from engines.demo_model.corpus import (
    CONTEXT_TOKENS,
    EXCHANGES,
    FALLBACK_EN,
    FALLBACK_ZH,
    GREETING_ZH,
    INTRODUCTION_ZH,
    PARAPHRASES,
    STORY_ZH,
    TITLE_PROMPT,
    TITLES,
    TOPICS,
    fallback,
    first_exchange,
    is_chinese,
)
from engines.demo_model.template import CHAT_TEMPLATE, call, response, tools_note
from engines.demo_model.tools import KINDS, function, known_tool, minimal_arguments, unknown_tool
from gateway.context import title

# As Qwen2-7B-Instruct's tokenizer_config.json has it.
QWEN2_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# As transformers does it.
RENDERER = """
import json, sys
from jinja2.sandbox import ImmutableSandboxedEnvironment
environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
template, values = json.load(sys.stdin)
sys.stdout.buffer.write(environment.from_string(template).render(values).encode())
"""

ROOT = Path(__file__).resolve().parents[3]
LANTERN = ROOT / "engines/demo_model/lantern"


def read(name: str) -> dict[str, Any]:
    return dict(json.loads((LANTERN / name).read_text(encoding="utf-8")))


def vocabulary() -> list[str]:
    return list(read("tokenizer.json")["model"]["vocab"])


def byte_alphabet() -> list[str]:
    """GPT-2's: the character that stands for each byte in a byte-level vocabulary."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    substitutes = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(substitutes)) for byte in range(0x100)]


def test_every_file_has_the_checksum_that_training_wrote() -> None:
    lines = (LANTERN / "SHA256SUMS").read_text().splitlines()
    expected = {name: digest for digest, name in (line.split("  ") for line in lines)}
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in LANTERN.iterdir()}
    assert found.pop("SHA256SUMS")
    assert found == expected


def test_every_file_is_readable_by_other_users_as_a_container_needs() -> None:
    assert [path.name for path in LANTERN.iterdir() if path.stat().st_mode & 0o044 != 0o044] == []


def test_the_whole_model_is_small_enough_for_the_repository() -> None:
    assert sum(path.stat().st_size for path in LANTERN.iterdir()) <= 6 * 2**20


def test_it_is_a_qwen2_with_the_documented_context() -> None:
    config = read("config.json")
    assert config["architectures"] == ["Qwen2ForCausalLM"]
    assert config["max_position_embeddings"] == CONTEXT_TOKENS == 4096
    assert read("tokenizer_config.json")["model_max_length"] == CONTEXT_TOKENS


def test_only_the_bounds_of_a_turn_are_control_tokens() -> None:
    added = {token["content"]: token["special"] for token in read("tokenizer.json")["added_tokens"]}
    bounds = dict.fromkeys(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], True)
    assert added == {**bounds, "<tool_call>": False, "</tool_call>": False}


def test_the_template_is_the_one_that_the_training_samples_use() -> None:
    assert (LANTERN / "chat_template.jinja").read_text() == CHAT_TEMPLATE


def rendered(template: str, **values: object) -> str:
    run = subprocess.run(
        [ROOT / ".venv-engine/bin/python", "-c", RENDERER],
        input=json.dumps([template, values]).encode(),
        capture_output=True,
        check=True,
    )
    return run.stdout.decode()


@pytest.mark.vllm
@pytest.mark.parametrize("system", [[], [{"role": "system", "content": "be kind"}]], ids=["no system", "a system"])
@pytest.mark.parametrize("prompted", [True, False])
def test_it_renders_conversations_without_tools_as_qwen2_does(system: list[Any], prompted: bool) -> None:
    turns = [("user", "你好\n"), ("assistant", ""), ("system", "b"), ("user", "{{ c }} <tool_call>")]
    messages = [*system, *({"role": role, "content": content} for role, content in turns)]
    values = {"messages": messages, "add_generation_prompt": prompted}
    assert rendered(CHAT_TEMPLATE, **values) == rendered(QWEN2_TEMPLATE, **values)


@pytest.mark.vllm
def test_it_renders_tools_as_in_its_training_samples() -> None:
    tool = function("f", "城市 <&>'\"", {"type": "object", "properties": {}})
    called = {"function": {"name": "f", "arguments": {"a": "巴黎", "b": [1]}}}
    messages = [
        {"role": "system", "content": "be kind"},
        {"role": "assistant", "content": "so", "tool_calls": [called, called]},
        {"role": "tool", "content": "1"},
        {"role": "tool", "content": "2"},
    ]
    one = call("f", {"a": "巴黎", "b": [1]})
    assert rendered(CHAT_TEMPLATE, messages=messages, tools=[tool]) == (
        f"<|im_start|>system\nbe kind{tools_note([tool])}<|im_end|>\n"
        f"<|im_start|>assistant\nso\n{one}\n{one}<|im_end|>\n"
        f"<|im_start|>user\n{response('1')}\n{response('2')}<|im_end|>\n"
    )


def test_it_stops_at_the_end_of_a_turn_and_leaves_the_sampling_to_the_client() -> None:
    generation = read("generation_config.json")
    assert generation["eos_token_id"] == [2, 0]
    assert not {"temperature", "top_p", "top_k", "repetition_penalty"} & generation.keys()


def test_every_byte_is_a_token_so_that_no_text_is_lost() -> None:
    tokenizer = read("tokenizer.json")
    assert set(byte_alphabet()) <= set(vocabulary())
    assert tokenizer["decoder"]["type"] == "ByteLevel"
    assert tokenizer["normalizer"] is None


def test_the_story_has_characters_that_can_only_arrive_in_several_tokens() -> None:
    alphabet, tokens = byte_alphabet(), vocabulary()

    def needs_several(character: str) -> bool:
        written = "".join(alphabet[byte] for byte in character.encode())
        return not any(written in token for token in tokens)

    assert sum(needs_several(character) for character in set(STORY_ZH)) >= 20


@pytest.mark.vllm
@pytest.mark.parametrize("text", [STORY_ZH, "👩🏽‍🚀 🇨🇳 ❤️", "héllo wörld", "龘\u0000\ufffd", "a  b\n\n\tc "])
def test_text_survives_tokenization(text: str) -> None:
    script = (
        "import sys; from tokenizers import Tokenizer; tokenizer = Tokenizer.from_file(sys.argv[1]);"
        "text = sys.stdin.buffer.read().decode();"
        "sys.stdout.buffer.write(tokenizer.decode(tokenizer.encode(text).ids).encode())"
    )
    python, tokenizer = ROOT / ".venv-engine/bin/python", LANTERN / "tokenizer.json"
    run = subprocess.run([python, "-c", script, tokenizer], input=text.encode(), capture_output=True, check=True)
    assert run.stdout.decode() == text


def test_the_greeting_is_the_original_pages() -> None:
    assert dict(EXCHANGES)["你好"] == "你好!很高兴能为你提供帮助。有什么问题或需要我协助的事项吗?"
    assert dict(EXCHANGES)["你好"] == GREETING_ZH


@pytest.mark.parametrize("question", ["你是谁？", "你是谁?", "who are you?"])
def test_it_introduces_itself_as_what_it_is(question: str) -> None:
    introduction = dict(EXCHANGES)[question]
    assert "Lantern" in introduction
    assert "Parley" in introduction
    assert ("微型演示模型" in introduction) or ("tiny demonstration model" in introduction)
    assert (introduction == INTRODUCTION_ZH) == (question != "who are you?")


def test_every_answer_has_a_short_title_in_the_language_of_its_question() -> None:
    assert [(question, text) for question, _, text in TITLES if is_chinese(text) != is_chinese(question)] == []
    for text in {text for _, _, text in TITLES}:
        assert len(text) <= 20 if is_chinese(text) else len(text.split()) <= 6
        assert not set(text) & set("\"'.。“”")


def test_the_prompt_for_a_title_is_the_gateways() -> None:
    system, user = title.title_prompt("hello", "x" * 1000)
    assert (system.text, user.text) == (TITLE_PROMPT, first_exchange("hello", "x" * 1000))


def test_a_question_for_a_tool_contains_the_calls_arguments() -> None:
    rng = Random(1)  # noqa: S311 - the same tools every time
    for kind in KINDS * 40:
        tool = known_tool(kind, rng)
        question, arguments = tool.question(rng)
        assert list(arguments) == tool.definition["function"]["parameters"]["required"]
        assert arguments[tool.key].replace(" ", "") in question.replace(" ", "")
        assert question not in dict(EXCHANGES)


def test_a_forced_call_has_the_arguments_that_its_schema_requires() -> None:
    rng = Random(1)  # noqa: S311 - the same tools every time
    for tool in (unknown_tool(rng) for _ in range(100)):
        parameters = tool["function"]["parameters"]
        assert list(minimal_arguments(tool)) == parameters["required"]
        assert set(parameters["required"]) <= set(parameters["properties"])


def test_the_container_has_the_tool_options_of_the_demo() -> None:
    flags = " ".join((ROOT / "compose.cpu.yaml").read_text(encoding="utf-8").split())
    assert " ".join(engine_commands.TOOLS) in flags


def test_a_question_leads_to_one_answer_only() -> None:
    assert len(dict(EXCHANGES)) == len(EXCHANGES)
    assert {question for question, _ in EXCHANGES}.isdisjoint(question for question, _ in PARAPHRASES)


def test_an_unknown_question_is_declined_in_its_own_language() -> None:
    assert fallback("红楼梦讲了什么？") == FALLBACK_ZH
    assert fallback("Why is the sky blue?") == FALLBACK_EN


def test_no_answer_contains_a_control_token() -> None:
    answers = [FALLBACK_EN, FALLBACK_ZH, *(topic.answer for topic in TOPICS)]
    assert [answer for answer in answers if "<|" in answer] == []


@pytest.mark.parametrize(("topic", "begins"), [("code_zh", "[2, 3, 5, 7, 11,"), ("code_en", "the night learns to s")])
def test_the_code_in_its_answers_runs(topic: str, begins: str) -> None:
    (answer,) = (each.answer for each in TOPICS if each.name == topic)
    (code,) = re.findall(r"```python\n(.*?)```", answer, flags=re.DOTALL)
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(code, {})  # noqa: S102 - our own text, which users will paste and run
    assert printed.getvalue().startswith(begins)
