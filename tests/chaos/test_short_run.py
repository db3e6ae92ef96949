"""Every fault once, at a random token under load. `make chaos` does it for longer, and tells more."""

import random

import pytest

from tests.chaos import report
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.ground import Ground
from tests.chaos.texts import scripted
from tests.chaos.trial import Trial

pytestmark = pytest.mark.chaos

_STREAMS = 20
_PACE_SECONDS = 0.025

# Five kills in one answer take a minute here; "gateway kill -9" is the same with one.
_SHORT = [fault for fault in FAULTS if fault.name != "none" and not fault.long_answers]


@pytest.mark.parametrize("fault", _SHORT, ids=lambda fault: fault.name)
async def test_no_answer_loses_or_doubles_a_token(open_ground: Ground, fault: Fault) -> None:
    if fault.needs_disk and open_ground.disk is None:
        pytest.skip(open_ground.no_disk)
    seed = random.SystemRandom().randrange(10**6)
    rng = open_ground.rng = random.Random(seed)
    questions = [scripted(rng, f"S{number}", pace_seconds=_PACE_SECONDS) for number in range(_STREAMS)]
    outcome = await Trial(open_ground, fault, rng, questions).run()
    print(f"seed {seed}\n{report.head()}\n{report.row(outcome)}")
    assert outcome.broken == []
    assert (outcome.answers, outcome.lost, outcome.doubled, outcome.stuck) == (_STREAMS, 0, 0, 0)
