"""`.env.example` lists every setting, and nothing else."""

import re

import pytest

from tests.compose.project import CPU, ROOT

pytestmark = pytest.mark.compose

EXAMPLE = ROOT / ".env.example"


def test_every_setting_in_the_example_is_used_and_every_setting_used_is_in_the_example() -> None:
    text = "".join((ROOT / name).read_text() for name in CPU)
    used = set(re.findall(r"\$\{([A-Z_]+)", text)) | set(re.findall(r"^ +([A-Z_]+):$", text, re.MULTILINE))
    assert set(re.findall(r"^#([A-Z_]+)=", EXAMPLE.read_text(), re.MULTILINE)) == used


def test_defaults_in_the_example_are_the_defaults() -> None:
    stated = dict(re.findall(r"^#([A-Z_]+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))
    # Production's default, if the CPU overlay has another one.
    defaults = dict(
        found for name in reversed(CPU) for found in re.findall(r"\$\{([A-Z_]+):-([^}]+)\}", (ROOT / name).read_text())
    )
    assert {name: stated[name] for name in defaults} == defaults
