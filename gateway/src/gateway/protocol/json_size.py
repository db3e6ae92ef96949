"""The size of a JSON text, before it is parsed: a megabyte of brackets becomes half a million objects, and the event
loop stands while they are made.

Whole-text operations in C only. Up to the first syntax error the text has exactly the values that are counted here;
what follows is not parsed.
"""

import re
from itertools import accumulate

from gateway.errors import InvalidJson

# An item with one part has seven values, so about 2,800 items; a parameter of a function has about five.
MAX_VALUES = 20_000
# Real schemas are nested ten or twenty levels deep. What is decoded here is encoded again deeper in the stack, where
# Python's recursion limit would fail.
MAX_DEPTH = 128
# Seventeen digits tell any two doubles apart. The exact value of more takes quadratic time.
MAX_DIGITS = 100

# Possessive, so that nothing is tried twice: linear in the length.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_ONLY_DIGITS = bytes(byte if byte in b"0123456789." else ord(" ") for byte in range(256))
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def check_json_size(data: bytes) -> None:
    """Raises InvalidJson beyond MAX_VALUES, MAX_DEPTH or MAX_DIGITS. Anything but the size is left to a parser."""
    # Each string has an opening quote, and a closing one that may look escaped: `"\\\\"`.
    if data.count(b'"') - data.count(b'\\"') > 4 * MAX_VALUES:
        raise _too_many_values()
    structure = _STRING.sub(b"", data)
    if structure.count(b",") + structure.count(b"[") + structure.count(b"{") >= MAX_VALUES:
        raise _too_many_values()
    brackets = structure.translate(None, _NO_BRACKETS)[: 2 * MAX_VALUES]
    if max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > MAX_DEPTH:
        raise InvalidJson(f"one with more than {MAX_DEPTH} levels of nesting")
    if max(map(len, structure.translate(_ONLY_DIGITS).split()), default=0) > MAX_DIGITS:
        raise InvalidJson(f"a number with more than {MAX_DIGITS} digits")


def _too_many_values() -> InvalidJson:
    return InvalidJson(f"one with more than {MAX_VALUES:,} values")
