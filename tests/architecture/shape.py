"""The shape of both services' code in one table: `python -m tests.architecture.shape [ROOT] [--rooms]`."""

import argparse
import math
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tests.architecture.source import Service, Size, read

ROOT = Path(__file__).resolve().parents[2]
SERVICES = {"gateway": "gateway/src/gateway", "auth-service": "auth-service/src/auth_service"}

Row = tuple[str, ...]


def contracts(pyproject: Path, package: str) -> Counter[str]:
    """How many of import-linter's contracts name the package, by kind."""
    if not pyproject.exists():
        return Counter()
    tool = tomllib.loads(pyproject.read_text()).get("tool", {})
    found: list[dict[str, Any]] = tool.get("importlinter", {}).get("contracts", [])
    return Counter(one["type"] for one in found if package in {name.partition(".")[0] for name in _named(one)})


def _named(contract: dict[str, Any]) -> Iterator[str]:
    for key, value in contract.items():
        if key != "layers" and isinstance(value, list):
            yield from (name for name in value if isinstance(name, str))


def rows(root: Path) -> list[Row]:
    """A heading, and then a line for each figure."""
    columns = [figures(read(root / path), root / "pyproject.toml") for path in SERVICES.values()]
    return [("", *SERVICES), *((first[0], first[1], second[1]) for first, second in zip(*columns, strict=True))]


def figures(service: Service, pyproject: Path) -> list[tuple[str, str]]:
    functions, modules = service.functions, [Size(module.name, module.lines) for module in service.modules]
    return [
        ("modules", str(len(modules))),
        ("  lines, median", _median(modules)),
        ("  lines, max", _max(modules)),
        ("functions", str(len(functions))),
        ("  lines, median", _median(functions)),
        ("  lines, p90", _percentile(functions, 90)),
        ("  lines, max", _max(functions)),
        ("rooms", str(len(service.rooms))),
        ("  loose modules", str(len(service.loose))),
        ("  import arrows", str(len(service.arrows))),
        ("  import cycles", "; ".join([str(len(service.cycles)), *(" ".join(one) for one in service.cycles)])),
        ("settings", _settings(*service.settings)),
        ("untyped state in routes", str(service.untyped_state)),
        ("import contracts", _contracts(contracts(pyproject, service.package))),
    ]


def rooms(service: Service) -> list[Row]:
    """A heading, and then a line for each room."""
    table: list[Row] = [(service.package, "modules", "lines", "imports", "imported by")]
    for room in sorted(service.rooms):
        modules = [module for module in service.modules if module.room == room]
        imports = sum(source == room for source, _ in service.arrows)
        imported_by = sum(target == room for _, target in service.arrows)
        numbers = (len(modules), sum(module.lines for module in modules), imports, imported_by)
        table.append((room, *map(str, numbers)))
    return table


def _median(sizes: Sequence[Size]) -> str:
    return f"{median(size.lines for size in sizes):g}" if sizes else "-"


def _percentile(sizes: Sequence[Size], percent: int) -> str:
    """By the nearest rank."""
    ordered = sorted(size.lines for size in sizes)
    return str(ordered[math.ceil(len(ordered) * percent / 100) - 1]) if ordered else "-"


def _max(sizes: Sequence[Size]) -> str:
    longest = max(sizes, key=lambda size: size.lines, default=None)
    return f"{longest.lines} {longest.name}" if longest else "-"


def _settings(nested: int, flat: int) -> str:
    return str(nested) if nested == flat else f"{nested} ({flat} with the fields of nested models)"


def _contracts(kinds: Counter[str]) -> str:
    return f"{kinds.total()} ({', '.join(f'{number} {kind}' for kind, number in sorted(kinds.items()))})"


def aligned(table: Sequence[Row]) -> str:
    widths = [max(len(row[place]) for row in table) for place in range(len(table[0]))]
    lines = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table)
    return "\n".join(line.rstrip() for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.architecture.shape", description=__doc__)
    parser.add_argument("root", nargs="?", type=Path, default=ROOT, help="a checkout; this one by default")
    parser.add_argument("--rooms", action="store_true", help="also each room, with its imports")
    arguments = parser.parse_args()
    print(aligned(rows(arguments.root)))
    for path in SERVICES.values() if arguments.rooms else ():
        print("\n" + aligned(rooms(read(arguments.root / path))))


if __name__ == "__main__":
    main()
