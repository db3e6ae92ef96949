"""The chat template: Qwen2's, and Qwen2.5's for tools, whose format vLLM's `hermes` parser reads.

It exists twice: as the Jinja template that vLLM renders, and as the functions that write the training samples.
"""

import json
from collections.abc import Iterable
from typing import Any

CALL, CALL_END = "<tool_call>", "</tool_call>"
_RESPONSE, _RESPONSE_END = "<tool_response>", "</tool_response>"
_BEFORE_TOOLS = (
    "\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>"
)
_AFTER_TOOLS = (
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
    f"{CALL}{CALL_END} XML tags:\n{CALL}\n"
    '{"name": <function-name>, "arguments": <args-json-object>}\n'
    f"{CALL_END}"
)

# Without tools and tool messages it renders the same as Qwen2-7B-Instruct's own template.
CHAT_TEMPLATE = (
    "{% set begun = messages[0]['role'] == 'system' %}"
    "{{ '<|im_start|>system\n' + (messages[0]['content'] if begun else 'You are a helpful assistant.') }}"
    "{% if tools %}"
    f"{{{{ {json.dumps(_BEFORE_TOOLS)} }}}}"
    "{% for tool in tools %}{{ '\n' + (tool | tojson) }}{% endfor %}"
    f"{{{{ {json.dumps(_AFTER_TOOLS)} }}}}"
    "{% endif %}{{ '<|im_end|>\n' }}"
    "{% for message in (messages[1:] if begun else messages) %}"
    "{% if message['role'] == 'tool' %}"
    "{% if loop.first or loop.previtem['role'] != 'tool' %}{{ '<|im_start|>user' }}{% endif %}"
    f"{{{{ '\n{_RESPONSE}\n' + message['content'] + '\n{_RESPONSE_END}' }}}}"
    "{% if loop.last or loop.nextitem['role'] != 'tool' %}{{ '<|im_end|>\n' }}{% endif %}"
    "{% elif message['tool_calls'] %}"
    "{{ '<|im_start|>assistant' + ('\n' + message['content'] if message['content'] else '') }}"
    "{% for call in message['tool_calls'] %}"
    f"{{{{ '\n{CALL}\n{{\"name\": \"' + call['function']['name'] + '\", \"arguments\": ' }}}}"
    f"{{{{ (call['function']['arguments'] | tojson) + '}}\n{CALL_END}' }}}}"
    "{% endfor %}{{ '<|im_end|>\n' }}"
    "{% else %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def tools_note(tools: Iterable[dict[str, Any]]) -> str:
    """The text after the system prompt."""
    return _BEFORE_TOOLS + "".join(f"\n{to_json(tool)}" for tool in tools) + _AFTER_TOOLS


def call_opening(name: str) -> str:
    """A call up to its arguments, which vLLM's grammar forces when a tool is required."""
    return f'{CALL}\n{{"name": "{name}", "arguments": '


def call(name: str, arguments: dict[str, Any]) -> str:
    return f"{call_opening(name)}{to_json(arguments)}}}\n{CALL_END}"


def response(content: str) -> str:
    """The content of a user turn with one tool response; several may follow each other."""
    return f"{_RESPONSE}\n{content}\n{_RESPONSE_END}"
