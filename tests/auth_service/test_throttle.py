import asyncio

import pytest

from auth_service.errors import TooManyAttempts
from auth_service.throttle import Limits, Throttle
from tests.auth_service.fakes import Clock

OWNER, OFFICE, ATTIC = "alice", "192.0.2.1", "198.51.100.7"


async def fail(throttle: Throttle, account: str = OWNER, address: str = OFFICE) -> None:
    async with throttle.attempt(account, address) as attempt:
        attempt.failed()


async def fail_until_refused(throttle: Throttle, account: str = OWNER, address: str = OFFICE) -> int:
    """How long it says to wait, in seconds."""
    for _ in range(100):
        try:
            await fail(throttle, account, address)
        except TooManyAttempts as refusal:
            return refusal.retry_after_seconds or 0
    pytest.fail("a hundred failures in a row were not slowed down")


async def test_the_first_five_attempts_are_free_and_the_sixth_must_wait() -> None:
    throttle = Throttle(clock=Clock())
    for _ in range(5):
        await fail(throttle)
    assert await fail_until_refused(throttle) == 1


async def test_the_wait_doubles_with_every_failure_up_to_five_minutes() -> None:
    clock = Clock()
    throttle = Throttle(clock=clock)
    waits = []
    for _ in range(12):
        waits.append(await fail_until_refused(throttle))
        clock.now += waits[-1]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


async def test_being_refused_does_not_lengthen_the_wait() -> None:
    throttle = Throttle(clock=Clock())
    await fail_until_refused(throttle)
    assert [await fail_until_refused(throttle) for _ in range(10)] == [1] * 10


async def test_the_owner_elsewhere_and_other_accounts_here_are_not_slowed_down() -> None:
    throttle = Throttle(clock=Clock())
    await fail_until_refused(throttle)
    async with throttle.attempt(OWNER, ATTIC) as attempt:
        attempt.succeeded()
    async with throttle.attempt("bob", OFFICE) as attempt:
        attempt.succeeded()


async def test_success_clears_the_failures_before_it() -> None:
    throttle = Throttle(clock=Clock())
    for _ in range(4):
        await fail(throttle)
    async with throttle.attempt(OWNER, OFFICE) as attempt:
        attempt.succeeded()
    for _ in range(5):
        await fail(throttle)


async def test_failures_are_forgotten_after_a_quarter_of_an_hour() -> None:
    clock = Clock()
    throttle = Throttle(clock=clock)
    await fail_until_refused(throttle)
    clock.now += 900
    for _ in range(5):
        await fail(throttle)


async def test_an_attempt_that_came_to_no_result_does_not_count() -> None:
    throttle = Throttle(Limits(free_attempts=1), clock=Clock())
    for _ in range(10):
        async with throttle.attempt(OWNER, OFFICE):
            pass
    await fail(throttle)


async def test_guesses_sent_at_once_get_no_more_tries_than_guesses_sent_in_turn() -> None:
    throttle = Throttle(Limits(waiting_attempts=100), clock=Clock())
    tried: list[int] = []

    async def guess(number: int) -> None:
        async with throttle.attempt(OWNER, OFFICE) as attempt:
            await asyncio.sleep(0)
            tried.append(number)
            attempt.failed()

    results = await asyncio.gather(*(guess(number) for number in range(50)), return_exceptions=True)
    assert len(tried) == 5
    assert sum(isinstance(result, TooManyAttempts) for result in results) == 45


async def test_right_answers_sent_at_once_are_all_let_through() -> None:
    throttle = Throttle(clock=Clock())

    async def log_in() -> None:
        async with throttle.attempt(OWNER, OFFICE) as attempt:
            await asyncio.sleep(0)
            attempt.succeeded()

    await asyncio.gather(*(log_in() for _ in range(16)))


async def test_the_line_of_one_key_is_short() -> None:
    throttle = Throttle(Limits(waiting_attempts=2), clock=Clock())
    async with throttle.attempt(OWNER, OFFICE):
        second = asyncio.create_task(fail(throttle))
        await asyncio.sleep(0)
        with pytest.raises(TooManyAttempts):
            await fail(throttle)
    await second


async def test_the_table_of_failures_does_not_grow_without_end() -> None:
    throttle = Throttle(Limits(free_attempts=1), Clock(), address_limits=Limits(free_attempts=100_000))
    await fail(throttle, "first")
    for number in range(10_000):
        await fail(throttle, f"user{number}")
    await fail(throttle, "first")
    with pytest.raises(TooManyAttempts):
        await fail(throttle, "user9999")


async def test_an_address_that_guesses_at_many_accounts_is_slowed_down_for_all_of_them() -> None:
    clock = Clock()
    throttle = Throttle(clock=clock)
    for number in range(50):
        await fail(throttle, f"user{number}")
    with pytest.raises(TooManyAttempts):
        await fail(throttle, "user50")
    await fail(throttle, "user50", ATTIC)


async def test_the_wait_of_an_address_grows_to_half_a_minute_and_no_further() -> None:
    clock = Clock()
    throttle = Throttle(clock=clock)
    waits = []
    for number in range(60):
        try:
            await fail(throttle, f"user{number}")
        except TooManyAttempts as refusal:
            waits.append(refusal.retry_after_seconds or 0)
            clock.now += waits[-1]
            await fail(throttle, f"user{number}")
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30, 30, 30]


async def test_success_with_an_account_of_ones_own_forgives_the_address_nothing() -> None:
    throttle = Throttle(clock=Clock())
    for number in range(50):
        await fail(throttle, f"user{number}")
        if number == 48:
            async with throttle.attempt("mallory", OFFICE) as attempt:
                attempt.succeeded()
    with pytest.raises(TooManyAttempts):
        await fail(throttle, "user50")


async def test_addresses_that_one_owner_of_ipv6_can_choose_from_are_one_address() -> None:
    throttle = Throttle(clock=Clock())
    for number in range(5):
        await fail(throttle, OWNER, f"2001:db8::{number}")
    with pytest.raises(TooManyAttempts):
        await fail(throttle, OWNER, "2001:db8::ffff")
    await fail(throttle, OWNER, "2001:db8:0:1::1")


async def test_a_known_browser_is_slowed_down_by_its_own_failures_alone() -> None:
    throttle = Throttle(clock=Clock())
    await fail_until_refused(throttle)
    for number in range(45):
        await fail(throttle, f"user{number}")
    with pytest.raises(TooManyAttempts):
        await fail(throttle, "user50")
    for _ in range(5):
        async with throttle.attempt(OWNER, OFFICE, "browser") as attempt:
            attempt.failed()
    with pytest.raises(TooManyAttempts):
        async with throttle.attempt(OWNER, ATTIC, "browser"):
            pytest.fail("the line is the browser's, wherever it is")
    async with throttle.attempt(OWNER, OFFICE, "another browser") as attempt:
        attempt.succeeded()
    await fail(throttle, OWNER, ATTIC)


async def test_a_full_line_of_strangers_is_no_line_for_a_known_browser() -> None:
    throttle = Throttle(Limits(waiting_attempts=1), clock=Clock())
    async with throttle.attempt(OWNER, OFFICE):
        with pytest.raises(TooManyAttempts):
            await fail(throttle)
        async with throttle.attempt(OWNER, OFFICE, "browser") as attempt:
            attempt.succeeded()
