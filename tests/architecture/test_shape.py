"""The measures, on a small tree of known shape."""

from pathlib import Path

import pytest

from tests.architecture import shape
from tests.architecture.source import Service, read

SETTINGS = """
class Defaults(BaseModel):
    temperature: float = 0.45
    top_p: float = 0.9

class Settings(BaseSettings):
    model_config = SettingsConfigDict(frozen=True)

    host: str = "127.0.0.1"
    port: int
    defaults: Annotated[Defaults, Field(default_factory=Defaults)]
"""
ROUTE = """
async def read(request: Request) -> Response:
    state: State = request.state
    return Response(request.state.turns, connection.state.identity, websocket.state["places"])

class Reader:
    def read(self) -> None: ...
"""
PYPROJECT = """
[[tool.importlinter.contracts]]
name = "layers"
type = "layers"
containers = ["gateway"]
layers = ["app", "auth_service"]

[[tool.importlinter.contracts]]
name = "no Redis in the routes"
type = "forbidden"
source_modules = ["gateway.routes"]
forbidden_modules = ["redis"]

[[tool.importlinter.contracts]]
name = "the services share no code"
type = "independence"
modules = ["gateway", "auth_service"]
"""


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def service(root: Path, **files: str) -> Service:
    """`routes__health="..."` is the module `gateway.routes.health`."""
    paths = {name.replace("__", "/") + ".py": text for name, text in files.items()}
    return read(written(root / "gateway", {"__init__.py": "", **paths}))


def test_a_room_is_a_package_or_a_module_in_the_root_package(tmp_path: Path) -> None:
    gateway = service(tmp_path, app="x = 1", routes__health="x = 1", routes__models="x = 1", store__redis__keys="x = 1")
    assert gateway.rooms == {"app", "routes", "store"}
    assert gateway.loose == {"app"}
    assert len(gateway.modules) == 4


def test_every_way_to_import_a_room_is_an_arrow(tmp_path: Path) -> None:
    gateway = service(
        tmp_path,
        app="from gateway import turn\nfrom gateway.routes import health\nimport gateway.store.keys\nimport redis",
        routes__health="def f():\n    from gateway.turn import Turn\nfrom gateway.routes import models",
        routes__models="from gateway import __version__",
        store__keys="from auth_service import turn",
        turn="x = 1",
    )
    assert gateway.arrows == {("app", "turn"), ("app", "routes"), ("app", "store"), ("routes", "turn")}
    assert gateway.cycles == []


def test_rooms_that_import_each_other_are_a_cycle(tmp_path: Path) -> None:
    gateway = service(
        tmp_path,
        app="import gateway.a",
        a="import gateway.b",
        b="import gateway.c",
        c="import gateway.a",
        x="import gateway.y",
        y="import gateway.x",
    )
    assert gateway.cycles == [["a", "b", "c"], ["x", "y"]]


def test_a_functions_lines_begin_at_its_name(tmp_path: Path) -> None:
    gateway = service(tmp_path, app="@cached\n@traced\ndef run(\n    x: int,\n) -> None:\n    def inner(): ...\n")
    assert [(function.name, function.lines) for function in gateway.functions] == [("app.run", 4), ("app.inner", 1)]


def test_migrations_that_have_run_are_left_out(tmp_path: Path) -> None:
    gateway = service(tmp_path, migrations__env="x = 1", migrations__versions__first="x = 1")
    assert [module.name for module in gateway.modules] == ["migrations.env"]


def test_a_nested_model_is_one_setting_or_as_many_as_its_fields(tmp_path: Path) -> None:
    assert service(tmp_path, settings=SETTINGS).settings == (3, 4)


def test_a_nested_model_may_live_in_another_module(tmp_path: Path) -> None:
    defaults, settings = SETTINGS.split("\n\n", 1)
    gateway = service(tmp_path, context__defaults=defaults, settings=f"from gateway.context import x\n{settings}")
    assert gateway.settings == (3, 4)


def test_only_attributes_of_state_in_routes_are_untyped(tmp_path: Path) -> None:
    assert service(tmp_path, routes__responses=ROUTE, app=ROUTE).untyped_state == 2


def test_a_contract_counts_for_each_service_that_it_names(tmp_path: Path) -> None:
    pyproject = written(tmp_path, {"pyproject.toml": PYPROJECT}) / "pyproject.toml"
    assert shape.contracts(pyproject, "gateway") == {"layers": 1, "forbidden": 1, "independence": 1}
    assert shape.contracts(pyproject, "auth_service") == {"independence": 1}


def test_the_table_is_aligned_and_names_what_is_longest(tmp_path: Path) -> None:
    gateway = {"settings.py": SETTINGS, "routes/responses.py": ROUTE, "errors.py": "x = 1\n"}
    files = {f"gateway/src/gateway/{name}": text for name, text in gateway.items()}
    files |= {"auth-service/src/auth_service/app.py": "import x\n", "pyproject.toml": PYPROJECT}
    lines = shape.aligned(shape.rows(written(tmp_path, files))).splitlines()
    assert lines[0].split() == ["gateway", "auth-service"]
    column = lines[0].index("auth-service")
    assert {line[column - 1] for line in lines} == {" "}
    table = {line[:26].strip(): line[26:column].strip() for line in lines}
    assert table["modules"] == "3"
    assert table["rooms"] == "3"
    assert table["settings"] == "3 (4 with the fields of nested models)"
    assert table["import contracts"] == "3 (1 forbidden, 1 independence, 1 layers)"
    assert "11 settings" in lines[3]
    assert "3 routes.responses.read" in lines[7]


def test_a_folder_without_the_services_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gateway/src/gateway"):
        shape.rows(tmp_path)


def test_this_checkout_can_be_measured() -> None:
    table = {name: figure for name, figure, _ in shape.rows(shape.ROOT)}
    assert int(table["modules"]) > 50
    assert int(table["functions"]) > 300
    assert int(table["rooms"]) > 10
