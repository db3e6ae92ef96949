"""Stored data outlives a version of the gateway: the names of its keys must not change."""

import re

from gateway.store import keys

USER, CONVERSATION, CHAIN, RESPONSE = "user_1", "conv_" + "0" * 32, "thread_" + "0" * 32, "resp_1"
NAMES = {
    keys.GATEWAYS_KEY: "parley:gateways",
    keys.MARKER_KEY: "parley:storage",
    keys.WITNESS_KEY: "parley:storage:witness",
    keys.DEPARTURES_CHANNEL: "parley:plain-text:left",
    keys.user_pattern(USER): "parley:{user_1}:*",
    keys.index_key(USER): "parley:{user_1}:conversations",
    keys.thread_key(USER, CONVERSATION): f"parley:{{user_1}}:conversation:{CONVERSATION}",
    keys.items_key(USER, CONVERSATION): f"parley:{{user_1}}:conversation:{CONVERSATION}:items",
    keys.responses_key(USER, CONVERSATION): f"parley:{{user_1}}:conversation:{CONVERSATION}:responses",
    keys.thread_key(USER, CHAIN): f"parley:{{user_1}}:thread:{CHAIN}",
    keys.items_key(USER, CHAIN): f"parley:{{user_1}}:thread:{CHAIN}:items",
    keys.response_key(USER, RESPONSE): "parley:{user_1}:response:resp_1",
    keys.idempotency_key(USER, "mine"): "parley:{user_1}:once:3fd30542fe3f61b14bd4a4b2dc0b6fb3",
    keys.responses_key(USER, CHAIN): f"parley:{{user_1}}:thread:{CHAIN}:responses",
    keys.quota_key(USER): "parley:{user_1}:quota",
    keys.earlier_sizes_key(USER): "parley:{user_1}:sizes",
    keys.usage_key(USER, "2026-03-01"): "parley:{user_1}:usage:2026-03-01",
    keys.segment_key(USER, RESPONSE, 0): "parley:{user_1}:response:resp_1:log",
    keys.segment_key(USER, RESPONSE, 2): "parley:{user_1}:response:resp_1:log:2",
    keys.control_key("g1"): "parley:gateway:g1:control",
    keys.lease_key("g1"): "parley:gateway:g1:alive",
    keys.turns_key("g1"): "parley:gateway:g1:turns",
}


def test_the_names_are_those_of_stored_data() -> None:
    assert list(NAMES) == list(NAMES.values())


def test_a_log_has_the_keys_of_all_its_segments() -> None:
    log = "parley:{user_1}:response:resp_1:log"
    assert keys.segment_keys(USER, RESPONSE, 0) == [log]
    assert keys.segment_keys(USER, RESPONSE, 2) == [log, f"{log}:1", f"{log}:2"]


def test_a_field_of_the_quota_leads_to_the_key_that_it_counts() -> None:
    assert keys.key_of_field(USER, keys.usage_field("2026-03-01")) == keys.usage_key(USER, "2026-03-01")
    assert keys.key_of_field(USER, keys.idempotency_field("mine")) == keys.idempotency_key(USER, "mine")


def test_every_key_is_documented() -> None:
    documented = re.findall(r"^    (parley:\S+)", keys.__doc__ or "", re.MULTILINE)
    patterns = [re.sub(r"\\\[(.*)\\\]$", r"(\1)?", re.escape(one)) for one in documented]
    patterns = [re.sub(r"USER|ID|DIGEST|SEGMENT|YYYY\\-MM\\-DD", r"[\\w-]+", one) for one in patterns]
    assert [name for name in NAMES if not name.endswith("*") and not any(re.fullmatch(p, name) for p in patterns)] == []
