"""The configuration that compose would run: `docker compose config`. `services` is production's, then the CPU's."""

import re
from typing import Any

import pytest

pytestmark = pytest.mark.compose

ONE_SHOT = {"secrets", "weights"}
NETWORKS = {
    "nginx": {"public", "edge"},
    "gateway": {"edge", "data", "engine"},
    "auth-service": {"edge", "data"},
    "redis": {"data"},
    "vllm": {"engine"},
    "weights": {"egress"},
    "secrets": set[str](),
}
INTERNAL = {"edge", "data", "engine"}
SECRET_VOLUMES = {
    "gateway": {"gateway-secrets"},
    "auth-service": {"auth-service-secrets"},
    "redis": {"redis-secrets"},
    "secrets": {"gateway-secrets", "auth-service-secrets", "redis-secrets"},
}


def test_production_has_exactly_the_known_services(production: dict[str, Any]) -> None:
    assert set(production) == set(NETWORKS)


def test_the_cpu_overlay_fetches_no_weights_and_reserves_no_gpu(cpu: dict[str, Any]) -> None:
    assert "weights" not in cpu
    assert not cpu["vllm"].get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices")


def test_production_reserves_one_gpu_for_the_model_alone(production: dict[str, Any]) -> None:
    reserving = {
        name: one["deploy"]["resources"]["reservations"]["devices"]
        for name, one in production.items()
        if "deploy" in one
    }
    assert reserving == {"vllm": [{"driver": "nvidia", "device_ids": ["0"], "capabilities": ["gpu"]}]}


def test_only_nginx_publishes_a_port(services: dict[str, dict[str, Any]]) -> None:
    published = {name: [port["target"] for port in one["ports"]] for name, one in services.items() if "ports" in one}
    assert published == {"nginx": [8080]}


def test_services_share_only_the_networks_of_the_architecture(services: dict[str, dict[str, Any]]) -> None:
    assert {name: set(one.get("networks", {})) for name, one in services.items()} == {
        name: NETWORKS[name] for name in services
    }


def test_inner_networks_have_no_way_out(configuration: dict[str, Any]) -> None:
    internal = {name for name, one in configuration["networks"].items() if one.get("internal")}
    assert internal == INTERNAL


def test_every_container_is_confined(services: dict[str, dict[str, Any]]) -> None:
    for name, one in services.items():
        assert one["read_only"], name
        assert one["cap_drop"] == ["ALL"], name
        assert one["security_opt"] == ["no-new-privileges:true"], name
        assert int(one["mem_limit"]) > 0, name
        assert one["pids_limit"] > 0, name
        assert one["logging"]["options"]["max-size"], name
        for forbidden in ("privileged", "container_name", "pid", "ipc", "devices"):
            assert forbidden not in one, f"{name}: {forbidden}"


def test_only_the_secrets_service_is_root_and_it_has_no_network(services: dict[str, dict[str, Any]]) -> None:
    rooted = {name for name, one in services.items() if one["user"].startswith("0")}
    assert rooted == {"secrets"}
    assert services["secrets"]["network_mode"] == "none"
    capable = {name: one["cap_add"] for name, one in services.items() if "cap_add" in one}
    assert capable == {"secrets": ["CHOWN", "DAC_OVERRIDE"]}


def test_every_service_has_a_user_of_its_own(services: dict[str, dict[str, Any]]) -> None:
    users = [one["user"] for name, one in services.items() if name not in ONE_SHOT]
    assert all(re.fullmatch(r"\d+:\d+", user) for user in users)
    assert len({user.partition(":")[0] for user in users}) == len(users)


def test_services_restart_by_themselves_and_one_shots_do_not(services: dict[str, dict[str, Any]]) -> None:
    for name, one in services.items():
        assert one["restart"] == ("no" if name in ONE_SHOT else "unless-stopped"), name
        if name not in ONE_SHOT:
            assert one["healthcheck"]["start_interval"], name
            assert one["healthcheck"]["timeout"] == one["healthcheck"]["interval"] == "10s", name
            assert not any("python" in part for part in one["healthcheck"]["test"]), name
            assert one["stop_grace_period"], name


def test_every_dependency_has_a_condition_and_the_gateway_does_not_wait_for_the_model(
    services: dict[str, dict[str, Any]],
) -> None:
    for name, one in services.items():
        for needed, how in one.get("depends_on", {}).items():
            expected = "service_completed_successfully" if needed in ONE_SHOT else "service_healthy"
            assert how["condition"] == expected, f"{name} -> {needed}"
    assert set(services["gateway"]["depends_on"]) == {"secrets", "redis", "auth-service"}


def test_no_secret_is_in_the_environment(services: dict[str, dict[str, Any]]) -> None:
    suspicious = re.compile(r"PASSWORD|CREDENTIAL|SECRET|_KEY\b|TOKEN$")
    for name, one in services.items():
        named = {key for key in one.get("environment", {}) if suspicious.search(key) and not key.endswith("_DIR")}
        assert named <= ({"HF_TOKEN"} if name == "weights" else set()), name


def test_a_service_sees_its_own_secrets_only_and_cannot_change_them(services: dict[str, dict[str, Any]]) -> None:
    for name, one in services.items():
        mounted = {mount["source"]: mount for mount in one.get("volumes", []) if mount["source"].endswith("-secrets")}
        assert set(mounted) == SECRET_VOLUMES.get(name, set()), name
        assert name == "secrets" or all(mount["read_only"] for mount in mounted.values()), name


def test_redis_is_configured_to_keep_acknowledged_writes(services: dict[str, dict[str, Any]]) -> None:
    command = services["redis"]["command"]
    assert {"--appendonly yes", "--appendfsync always", "--maxmemory-policy noeviction"} <= set(command)
