from hypothesis import given
from hypothesis import strategies as st

from gateway.engine.ranking import bound, order, ranked

ENGINES = ["http://a:8000/v1", "http://b:8000/v1", "http://c:8000/v1", "http://d:8000/v1"]
SEVERAL = st.lists(st.text(min_size=1), min_size=2, max_size=8, unique=True)
KEYS = st.text()


@given(KEYS, SEVERAL, st.data())
def test_all_gateways_come_to_the_same_order(key: str, engines: list[str], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(engines))
    assert ranked(key, engines) == ranked(key, shuffled)
    assert sorted(ranked(key, engines)) == sorted(engines)


@given(st.lists(KEYS, max_size=50), SEVERAL, st.data())
def test_an_engine_that_leaves_moves_only_what_it_had(keys: list[str], engines: list[str], data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(engines))
    left = [one for one in engines if one != gone]
    for key in keys:
        before = ranked(key, engines)
        assert ranked(key, left) == [one for one in before if one != gone]


@given(KEYS, SEVERAL)
def test_a_conversation_goes_to_its_first_choice_while_that_has_room(key: str, engines: list[str]) -> None:
    assert order(key, dict.fromkeys(engines, 0)) == ranked(key, engines)


@given(st.lists(KEYS, max_size=200), SEVERAL)
def test_however_many_answers_begin_no_engine_has_more_than_its_share(keys: list[str], engines: list[str]) -> None:
    running = dict.fromkeys(engines, 0)
    for key in keys:
        most = bound(list(running.values()))
        running[order(key, running)[0]] += 1
        assert max(running.values()) <= most


@given(KEYS, SEVERAL, st.data())
def test_the_busy_ones_are_the_last_resort_and_keep_their_rank(
    key: str, engines: list[str], data: st.DataObject
) -> None:
    running = {one: data.draw(st.integers(0, 20)) for one in engines}
    most = bound(list(running.values()))
    tried = order(key, running)
    free = [one for one in ranked(key, engines) if running[one] + 1 <= most]
    assert tried[: len(free)] == free
    assert tried[len(free) :] == [one for one in ranked(key, engines) if one not in free]


def test_conversations_are_spread_evenly() -> None:
    first = [ranked(f"conv_{number}", ENGINES)[0] for number in range(2000)]
    assert all(400 < first.count(one) < 600 for one in ENGINES)
