import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidJson, InvalidRequest, UnsupportedParameter
from gateway.protocol.json_objects import convert, drop_neutral, object_of, parse_json_object

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)


class Inner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    number: int


class Outer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    inner: tuple[Inner, ...]
    name: str = ""


@given(st.dictionaries(TEXTS, VALUES, max_size=5))
def test_an_object_is_decoded_as_it_was_encoded(value: dict[str, Any]) -> None:
    assert parse_json_object(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    "data",
    [
        b"", b"hello", b"{", b"[1]", b"null", b'"x"', b"5", b"NaN", b'{"a":NaN}', b'{"a":Infinity}', b'{"a":1e400}',
        b'{"a":1}{}', b'{"a":1} x', b"{'a':1}", b'{"a":1,}', b'{"a":01}', b"[" * 10_000, b'{"a":' * 10_000,
        b'{"a":"\\ud800"}', b'{"a":"\\uDC00\\uD800"}', b'{"\\ud800":1}', b'{"a":-1e400}', b'{"a":-Infinity}',
        b'{"a":"\xff"}', b'{"a":"\x00"}', b"\xef\xbb\xbf{}",
    ],
)  # fmt: skip
def test_anything_but_a_well_formed_object_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidJson) as caught:
        parse_json_object(data)
    assert caught.value.code == "invalid_json"


@pytest.mark.parametrize("data", [b'{"a":1,"a":1}', b'{"x":[{"a":1,"b":2,"a":3}]}', b'{"a":1,"\\u0061":2}'])
def test_a_duplicate_name_is_reported(data: bytes) -> None:
    with pytest.raises(InvalidJson, match="duplicate name 'a'"):
        parse_json_object(data)


class Name(str):
    """Counts how often names are compared."""

    compared = 0

    def __hash__(self) -> int:
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        Name.compared += 1
        return super().__eq__(other)


def test_duplicate_names_are_found_in_linear_time() -> None:
    names = [Name(f"{number:x}") for number in range(2000)]
    with pytest.raises(InvalidJson, match="duplicate name '7cf'"):
        object_of([(name, 0) for name in (*names, Name("7cf"))])
    assert Name.compared < len(names)


def test_a_pair_of_escaped_surrogates_is_one_character() -> None:
    assert parse_json_object(b'{"a":"\\ud83d\\uDE00"}') == {"a": "😀"}


def test_the_same_name_in_two_objects_is_no_duplicate() -> None:
    assert parse_json_object(b'{"a":{"a":1},"b":[{"a":2},{"a":3}]}')


def test_neutral_values_are_dropped_and_other_fields_kept() -> None:
    fields = {"include": None, "user": None, "model": "m"}
    assert drop_neutral(fields, {"include": (None, []), "user": (None,), "prompt": (None,)}) == {"model": "m"}
    assert "include" in fields


@pytest.mark.parametrize("value", [["x"], {}, 0, False, ""])
def test_any_other_value_is_refused_by_name(value: object) -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        drop_neutral({"include": value}, {"include": (None, [])})
    assert caught.value.param == "include"


@pytest.mark.parametrize(("value", "accepted"), [(0, (False,)), (1, (True,)), (False, (0,)), (0.0, (0,))])
def test_a_value_of_another_type_is_not_neutral_although_it_compares_equal(
    value: object, accepted: tuple[object, ...]
) -> None:
    with pytest.raises(UnsupportedParameter):
        drop_neutral({"x": value}, {"x": accepted})


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"inner": [], "colour": 1}, "colour", "unknown_parameter"),
        ({"inner": [{"number": 1, "colour": 1}]}, "inner[0].colour", "unknown_parameter"),
        ({"inner": [{"number": "1"}]}, "inner[0].number", "invalid_value"),
        ({"inner": [{}]}, "inner[0].number", "invalid_value"),
        ({"inner": {}}, "inner", "invalid_value"),
        ({"inner": [], "name": None}, "name", "invalid_value"),
        ({}, "inner", "invalid_value"),
    ],
)
def test_an_invalid_field_is_named_with_its_path(fields: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        convert(fields, Outer)
    assert (caught.value.param, caught.value.code) == (param, code)


def test_an_overlong_name_is_truncated_in_the_message() -> None:
    with pytest.raises(InvalidRequest) as caught:
        convert({"inner": [], "x" * 10_000: 1}, Outer)
    assert caught.value.param is not None
    assert len(caught.value.param) + len(caught.value.message) < 1_000


def test_valid_fields_are_converted() -> None:
    assert convert({"inner": [{"number": 1}]}, Outer) == Outer((Inner(1),))
