"""The answers without a directive: canned ones, an echo, and numbered filler."""

import itertools
import re
from collections.abc import Sequence
from typing import Final

from engines.scripted.template import Message
from engines.scripted.tokenizer import encode

_CODE: Final = """\
Here is a small program:

```python
def fibonacci(count: int) -> list[int]:
    numbers = [0, 1]
    while len(numbers) < count:
        numbers.append(numbers[-1] + numbers[-2])
    return numbers[:count]


print(fibonacci(10))  # 前十个数
```

Run it with `python3 fibonacci.py`; it prints **ten** numbers.
"""

_TABLE: Final = """\
| 城市 | City | 灯塔建于 |
| --- | --- | ---: |
| 青岛 | Qingdao | 1900 |
| 大连 | Dalian | 1905 |
| 舟山 | Zhoushan | 1908 |

1. 第一列是中文名。
2. The second column is the English name.
"""

_STORY: Final = """\
从前,在一座临海的小城里,有一座很老的灯塔。守塔人名叫阿明,他每天黄昏登上一百二十级台阶,擦亮玻璃,点起那盏灯。

有一年冬天,大雾三日不散,港口里的人都说,今晚不会有船来了。阿明还是点了灯。半夜,他听见远处有人敲钟,一下,两下,很轻。他把灯转向钟声的方向,一直守到天亮。

雾散的时候,一条小渔船正靠在码头边。船上的老人抬起头,对他说:“我们什么都看不见,只看见你的灯。”

后来灯塔装上了电灯,再也不用人守。可是小城的人仍然在冬天的夜里抬头看一眼,好像那里还有一个人,正把灯慢慢地转向他们。🌊
"""

CANNED: Final[dict[str, str]] = {
    "nihao": "你好!很高兴能为你提供帮助。有什么问题或需要我协助的事项吗?",
    "hello": "Hello! I am glad to help. What would you like to talk about?",
    "who": "我是一台按剧本说话的演示引擎:文字是写好的,速度和故障由测试决定。",
    "code": _CODE,
    "table": _TABLE,
    "story": _STORY,
}

_ENDINGS: Final = "!?.。\uff01\uff1f"
_GREETINGS: Final = {"你好": "nihao", "hello": "hello", "hi": "hello", "你是谁": "who", "who are you": "who"}
_TOPICS: Final = (
    (re.compile(r"故事|\bstory\b", re.IGNORECASE), "story"),
    (re.compile(r"代码|程序|\bcode\b", re.IGNORECASE), "code"),
    (re.compile(r"表格|\btable\b", re.IGNORECASE), "table"),
)


def answer_to(text: str, messages: Sequence[Message]) -> str:
    """The answer to the last message of the user or a tool; the count shows a test the history that the engine got."""
    speaker = "The tool" if messages and messages[-1].role == "tool" else "You"
    if speaker == "You" and (canned := _canned(text)):
        return canned
    count = sum(message.role != "system" for message in messages)
    return f"{speaker} said: {text}\n(message {count} of this conversation; 本对话的第 {count} 条)"


def _canned(text: str) -> str | None:
    if name := _GREETINGS.get(text.strip().rstrip(_ENDINGS).lower()):
        return CANNED[name]
    for topic, name in _TOPICS:
        if topic.search(text):
            return CANNED[name]
    return None


def title_of(text: str) -> str:
    """Differs from the first words, so that a test can distinguish the two."""
    line = (text.strip().splitlines() or [""])[0]
    return f"About {' '.join(line.split()[:6])}" if line.isascii() else f"关于{line[:12]}"


def filler(tokens: int) -> list[int]:
    """Exactly this number of token ids, in numbered sentences; ends at a character boundary."""
    ids: list[int] = []
    for number in itertools.count(1):
        sentence = encode(f"{number}. 灯塔在雨里亮着, the lamp is lit. ")
        if len(ids) + len(sentence) > tokens:
            break
        ids.extend(sentence)
    return ids + encode(".") * (tokens - len(ids))
