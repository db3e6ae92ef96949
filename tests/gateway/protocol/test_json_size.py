import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidJson
from gateway.protocol import json_size
from gateway.protocol.json_size import MAX_DEPTH, MAX_DIGITS, MAX_VALUES, check_json_size

TEXTS = st.text(st.sampled_from('a",:[]{}\\\n0.é'), max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def count(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(count, inner))


def depth(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(depth, value.values() if isinstance(value, dict) else value), default=0)


def objects(number: int) -> bytes:
    return b'{"a":[' + b",".join([b"{}"] * (number - 2)) + b"]}"


def nested(levels: int) -> bytes:
    return b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


@given(VALUES)
def test_values_are_counted_where_they_are_and_not_inside_strings(value: Any) -> None:
    data = json.dumps({"a": value}).encode()
    with pytest.MonkeyPatch.context() as patch:
        # A comma, or the opening bracket of a container, precedes all values but one, and none precedes it twice.
        patch.setattr(json_size, "MAX_VALUES", 2 * count(value) + 2)
        patch.setattr(json_size, "MAX_DEPTH", 1 + depth(value))
        check_json_size(data)
        patch.setattr(json_size, "MAX_DEPTH", depth(value))
        with pytest.raises(InvalidJson, match="levels"):
            check_json_size(data)


def test_the_number_of_values_is_limited() -> None:
    check_json_size(objects(MAX_VALUES // 2))
    with pytest.raises(InvalidJson, match="more than 20,000 values"):
        check_json_size(objects(MAX_VALUES))


@pytest.mark.parametrize("value", [b'""', b'"\\\\"', b'"\\""', b"[", b"0"])
def test_a_flood_of_small_values_is_refused(value: bytes) -> None:
    with pytest.raises(InvalidJson, match="values"):
        check_json_size(b'{"a":[' + b",".join([value] * (MAX_VALUES + 1)) + b"]}")


@pytest.mark.parametrize("text", [b"a,[{" * 50_000, b'\\"' * 100_000, b"\\u0041" * 50_000, b"9" * 100_000])
def test_what_a_string_contains_is_not_counted(text: bytes) -> None:
    check_json_size(b'{"input":"' + text + b'"}')


def test_the_depth_of_nesting_is_limited() -> None:
    check_json_size(nested(MAX_DEPTH))
    with pytest.raises(InvalidJson, match=f"more than {MAX_DEPTH} levels"):
        check_json_size(nested(MAX_DEPTH + 1))


@pytest.mark.parametrize("number", ["9", "-1.", "0.", "1e"])
def test_the_digits_of_a_number_are_limited(number: str) -> None:
    check_json_size(f'{{"a":{number}{"1" * (MAX_DIGITS - 2)}}}'.encode())
    with pytest.raises(InvalidJson, match=f"more than {MAX_DIGITS} digits"):
        check_json_size(f'{{"a":{number}{"1" * (MAX_DIGITS + 1)}}}'.encode())
