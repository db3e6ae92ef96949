from hypothesis import given
from hypothesis import strategies as st

from gateway.engine.ranking import max_load, order_by_preference, rank

ENGINES = ["http://a:8000/v1", "http://b:8000/v1", "http://c:8000/v1", "http://d:8000/v1"]
SEVERAL = st.lists(st.text(min_size=1), min_size=2, max_size=8, unique=True)
KEYS = st.text()


@given(KEYS, SEVERAL, st.data())
def test_all_gateways_compute_the_same_order(key: str, engines: list[str], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(engines))
    assert rank(key, engines) == rank(key, shuffled)
    assert sorted(rank(key, engines)) == sorted(engines)


@given(st.lists(KEYS, max_size=50), SEVERAL, st.data())
def test_removing_an_engine_moves_only_its_own_keys(keys: list[str], engines: list[str], data: st.DataObject) -> None:
    removed = data.draw(st.sampled_from(engines))
    remaining = [one for one in engines if one != removed]
    for key in keys:
        before = rank(key, engines)
        assert rank(key, remaining) == [one for one in before if one != removed]


@given(KEYS, SEVERAL)
def test_a_conversation_goes_to_its_first_choice_while_it_has_room(key: str, engines: list[str]) -> None:
    assert order_by_preference(key, dict.fromkeys(engines, 0)) == rank(key, engines)


@given(st.lists(KEYS, max_size=200), SEVERAL)
def test_no_engine_exceeds_its_share_of_the_load(keys: list[str], engines: list[str]) -> None:
    running = dict.fromkeys(engines, 0)
    for key in keys:
        limit = max_load(list(running.values()))
        running[order_by_preference(key, running)[0]] += 1
        assert max(running.values()) <= limit


@given(KEYS, SEVERAL, st.data())
def test_overloaded_engines_come_last_and_keep_their_rank(key: str, engines: list[str], data: st.DataObject) -> None:
    running = {one: data.draw(st.integers(0, 20)) for one in engines}
    limit = max_load(list(running.values()))
    ordered = order_by_preference(key, running)
    free = [one for one in rank(key, engines) if running[one] + 1 <= limit]
    assert ordered[: len(free)] == free
    assert ordered[len(free) :] == [one for one in rank(key, engines) if one not in free]


def test_conversations_are_spread_evenly() -> None:
    first = [rank(f"conv_{number}", ENGINES)[0] for number in range(2000)]
    assert all(400 < first.count(one) < 600 for one in ENGINES)
