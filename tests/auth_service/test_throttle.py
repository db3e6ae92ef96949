"""Tests of auth_service.throttle."""

import asyncio

import pytest

from auth_service.errors import TooManyAttempts
from auth_service.throttle import Throttle, ThrottleLimits
from tests.auth_service.fakes import Clock

ACCOUNT, ADDRESS, OTHER_ADDRESS = "alice", "192.0.2.1", "198.51.100.7"


async def fail(throttle: Throttle, account: str = ACCOUNT, address: str = ADDRESS) -> None:
    async with throttle.attempt(account, address) as attempt:
        attempt.fail()


async def fail_until_refused(throttle: Throttle, account: str = ACCOUNT, address: str = ADDRESS) -> int:
    """Returns the delay of the refusal in seconds."""
    for _ in range(100):
        try:
            await fail(throttle, account, address)
        except TooManyAttempts as refused:
            return refused.retry_after_seconds or 0
    pytest.fail("a hundred failures in a row were not slowed down")


async def test_the_first_five_attempts_are_free_and_the_sixth_is_delayed() -> None:
    throttle = Throttle(clock=Clock())
    for _ in range(5):
        await fail(throttle)
    assert await fail_until_refused(throttle) == 1


async def test_the_delay_doubles_with_every_failure_up_to_five_minutes() -> None:
    clock = Clock()
    throttle = Throttle(clock=clock)
    waits = []
    for _ in range(12):
        waits.append(await fail_until_refused(throttle))
        clock.now += waits[-1]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


async def test_a_refused_attempt_does_not_extend_the_delay() -> None:
    throttle = Throttle(clock=Clock())
    await fail_until_refused(throttle)
    assert [await fail_until_refused(throttle) for _ in range(10)] == [1] * 10


async def test_other_addresses_and_other_accounts_are_not_delayed() -> None:
    throttle = Throttle(clock=Clock())
    await fail_until_refused(throttle)
    async with throttle.attempt(ACCOUNT, OTHER_ADDRESS) as attempt:
        attempt.succeed()
    async with throttle.attempt("bob", ADDRESS) as attempt:
        attempt.succeed()


async def test_success_resets_the_failures() -> None:
    throttle = Throttle(clock=Clock())
    for _ in range(4):
        await fail(throttle)
    async with throttle.attempt(ACCOUNT, ADDRESS) as attempt:
        attempt.succeed()
    for _ in range(5):
        await fail(throttle)


async def test_failures_are_reset_after_fifteen_minutes() -> None:
    clock = Clock()
    throttle = Throttle(clock=clock)
    await fail_until_refused(throttle)
    clock.now += 900
    for _ in range(5):
        await fail(throttle)


async def test_an_attempt_without_a_result_is_not_counted() -> None:
    throttle = Throttle(ThrottleLimits(free_attempts=1), clock=Clock())
    for _ in range(10):
        async with throttle.attempt(ACCOUNT, ADDRESS):
            pass
    await fail(throttle)


async def test_concurrent_guesses_get_no_more_attempts_than_sequential_ones() -> None:
    throttle = Throttle(ThrottleLimits(max_waiting=100), clock=Clock())
    tried: list[int] = []

    async def guess(number: int) -> None:
        async with throttle.attempt(ACCOUNT, ADDRESS) as attempt:
            await asyncio.sleep(0)
            tried.append(number)
            attempt.fail()

    results = await asyncio.gather(*(guess(number) for number in range(50)), return_exceptions=True)
    assert len(tried) == 5
    assert sum(isinstance(result, TooManyAttempts) for result in results) == 45


async def test_concurrent_correct_log_ins_all_succeed() -> None:
    throttle = Throttle(clock=Clock())

    async def log_in() -> None:
        async with throttle.attempt(ACCOUNT, ADDRESS) as attempt:
            await asyncio.sleep(0)
            attempt.succeed()

    await asyncio.gather(*(log_in() for _ in range(16)))


async def test_the_queue_of_one_key_is_limited() -> None:
    throttle = Throttle(ThrottleLimits(max_waiting=2), clock=Clock())
    async with throttle.attempt(ACCOUNT, ADDRESS):
        second = asyncio.create_task(fail(throttle))
        await asyncio.sleep(0)
        with pytest.raises(TooManyAttempts):
            await fail(throttle)
    await second


async def test_the_table_of_failures_is_bounded() -> None:
    assert ThrottleLimits().max_records == 10_000
    limits = ThrottleLimits(free_attempts=1, max_records=1000)
    throttle = Throttle(limits, Clock(), address_limits=ThrottleLimits(free_attempts=100_000))
    await fail(throttle, "first")
    for number in range(1000):
        await fail(throttle, f"user{number}")
    await fail(throttle, "first")
    with pytest.raises(TooManyAttempts):
        await fail(throttle, "user999")


async def test_an_address_that_guesses_at_many_accounts_is_delayed_for_all_of_them() -> None:
    clock = Clock()
    throttle = Throttle(clock=clock)
    for number in range(50):
        await fail(throttle, f"user{number}")
    with pytest.raises(TooManyAttempts):
        await fail(throttle, "user50")
    await fail(throttle, "user50", OTHER_ADDRESS)


async def test_the_delay_of_an_address_is_at_most_half_a_minute() -> None:
    clock = Clock()
    throttle = Throttle(clock=clock)
    waits = []
    for number in range(60):
        try:
            await fail(throttle, f"user{number}")
        except TooManyAttempts as refused:
            waits.append(refused.retry_after_seconds or 0)
            clock.now += waits[-1]
            await fail(throttle, f"user{number}")
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30, 30, 30]


async def test_success_does_not_reset_the_failures_of_the_address() -> None:
    throttle = Throttle(clock=Clock())
    for number in range(50):
        await fail(throttle, f"user{number}")
        if number == 48:
            async with throttle.attempt("mallory", ADDRESS) as attempt:
                attempt.succeed()
    with pytest.raises(TooManyAttempts):
        await fail(throttle, "user50")


async def test_addresses_of_one_ipv6_64_network_are_counted_together() -> None:
    throttle = Throttle(clock=Clock())
    for number in range(5):
        await fail(throttle, ACCOUNT, f"2001:db8::{number}")
    with pytest.raises(TooManyAttempts):
        await fail(throttle, ACCOUNT, "2001:db8::ffff")
    await fail(throttle, ACCOUNT, "2001:db8:0:1::1")


async def test_a_device_cookie_is_delayed_only_by_its_own_failures() -> None:
    throttle = Throttle(clock=Clock())
    await fail_until_refused(throttle)
    for number in range(45):
        await fail(throttle, f"user{number}")
    with pytest.raises(TooManyAttempts):
        await fail(throttle, "user50")
    for _ in range(5):
        async with throttle.attempt(ACCOUNT, ADDRESS, "cookie") as attempt:
            attempt.fail()
    with pytest.raises(TooManyAttempts):
        async with throttle.attempt(ACCOUNT, OTHER_ADDRESS, "cookie"):
            pytest.fail("the delay applies at every address")
    async with throttle.attempt(ACCOUNT, ADDRESS, "another cookie") as attempt:
        attempt.succeed()
    await fail(throttle, ACCOUNT, OTHER_ADDRESS)


async def test_a_full_queue_does_not_affect_a_device_cookie() -> None:
    throttle = Throttle(ThrottleLimits(max_waiting=1), clock=Clock())
    async with throttle.attempt(ACCOUNT, ADDRESS):
        with pytest.raises(TooManyAttempts):
            await fail(throttle)
        async with throttle.attempt(ACCOUNT, ADDRESS, "cookie") as attempt:
            attempt.succeed()
