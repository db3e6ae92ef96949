"""A service's code as syntax trees. Nothing of it is imported, so any checkout can be read, also one of another layout.

A room is a package or a module directly in the root package; an arrow is an import in one room of another.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# Migrations are history: nobody edits them again.
_EXCLUDED = ("migrations/versions",)
_CONNECTIONS = ("connection", "request", "websocket")

Arrow = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Module:
    """`name` is relative to the root package: `routes.health`, or `routes` for its `__init__`."""

    name: str
    lines: int
    tree: ast.Module

    @property
    def room(self) -> str:
        return self.name.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Size:
    name: str
    lines: int


@dataclass(frozen=True, slots=True)
class Service:
    """`loose` are the modules directly in the root package, without `__main__`."""

    package: str
    modules: tuple[Module, ...]
    arrows: frozenset[Arrow]
    loose: frozenset[str]

    @property
    def rooms(self) -> frozenset[str]:
        return frozenset(module.room for module in self.modules)

    @property
    def functions(self) -> list[Size]:
        return [function for module in self.modules for function in _functions(module)]

    @property
    def cycles(self) -> list[list[str]]:
        """The rooms of each cycle; cycles that share a room are one."""
        reached = {room: _reachable(room, self.arrows) for room in self.rooms}
        cycles = {frozenset(other for other in reached[room] if room in reached[other]) for room in self.rooms}
        return sorted(sorted(cycle) for cycle in cycles if cycle)

    @property
    def settings(self) -> tuple[int, int]:
        """The number of fields of `Settings`: a nested model counted once, and counted by its own fields."""
        nodes = (node for module in self.modules for node in ast.walk(module.tree))
        classes = {node.name: node for node in nodes if isinstance(node, ast.ClassDef)}
        classes |= {node.name: node for node in self._settings_module if isinstance(node, ast.ClassDef)}
        if "Settings" not in classes:
            return 0, 0
        return len(_fields(classes["Settings"])), _count_flat("Settings", classes)

    @property
    def _settings_module(self) -> list[ast.stmt]:
        return [node for module in self.modules if module.name == "settings" for node in module.tree.body]

    @property
    def untyped_state(self) -> int:
        routes = (module for module in self.modules if module.room == "routes")
        return sum(_is_untyped_state(node) for module in routes for node in ast.walk(module.tree))


def read(package: Path) -> Service:
    """Raises FileNotFoundError."""
    if not package.is_dir():
        raise FileNotFoundError(f"expected a package's folder, got {package}")
    modules = tuple(_modules(package))
    loose = frozenset(one.stem for one in package.glob("*.py") if not one.stem.startswith("__"))
    return Service(package.name, modules, _arrows(modules, package.name), loose)


def _modules(package: Path) -> Iterator[Module]:
    for file in sorted(package.rglob("*.py")):
        path = file.relative_to(package)
        text = file.read_text()
        is_root = path.as_posix() == "__init__.py"
        if text.strip() and not is_root and not path.as_posix().startswith(_EXCLUDED):
            name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
            yield Module(name, len(text.splitlines()), ast.parse(text))


def _arrows(modules: tuple[Module, ...], package: str) -> frozenset[Arrow]:
    rooms = {module.room for module in modules}
    found = ((module.room, room) for module in modules for room in _imported(module, package))
    return frozenset((room, other) for room, other in found if other in rooms and room != other)


def _functions(module: Module) -> Iterator[Size]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            yield Size(f"{module.name}.{node.name}", node.end_lineno - node.lineno + 1)


def _imported(module: Module, package: str) -> Iterator[str]:
    """The first part of each name imported from the root package: a room, or an attribute of the package."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for root, *inner in (name.split(".") for name in names):
            if root == package and inner:
                yield inner[0]


def _reachable(room: str, arrows: frozenset[Arrow]) -> frozenset[str]:
    reached, waiting = set[str](), [room]
    while waiting:
        origin = waiting.pop()
        new = {target for source, target in arrows if source == origin} - reached
        reached |= new
        waiting += new
    return frozenset(reached)


def _fields(model: ast.ClassDef) -> list[ast.AnnAssign]:
    return [node for node in model.body if isinstance(node, ast.AnnAssign)]


def _count_flat(name: str, classes: Mapping[str, ast.ClassDef]) -> int:
    total = 0
    for field in _fields(classes[name]):
        nested = {node.id for node in ast.walk(field.annotation) if isinstance(node, ast.Name)} & classes.keys()
        total += sum(_count_flat(model, classes) for model in nested) or 1
    return total


def _is_untyped_state(node: ast.AST) -> bool:
    """`request.state.x` has the type Any; `websocket.state["x"]` is an item of a TypedDict."""
    match node:
        case ast.Attribute(value=ast.Attribute(value=ast.Name(id=name), attr="state")):
            return name in _CONNECTIONS
    return False
