"""Every fault once, at a random token under load. `make chaos` runs longer and prints more."""

import random

import pytest

from tests.chaos import report
from tests.chaos.environment import Environment
from tests.chaos.experiment import Experiment
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.questions import scripted_question

pytestmark = pytest.mark.chaos

_STREAMS = 20
_PACE_SECONDS = 0.025

# Five kills in one answer take a minute here; "gateway kill -9" is the same with one.
_SHORT = [fault for fault in FAULTS if fault.name != "none" and not fault.long_answers]


@pytest.mark.parametrize("fault", _SHORT, ids=lambda fault: fault.name)
async def test_no_answer_loses_or_doubles_a_token(chaos: Environment, fault: Fault) -> None:
    if fault.requires_disk and chaos.disk is None:
        pytest.skip(chaos.no_disk_reason)
    seed = random.SystemRandom().randrange(10**6)
    rng = chaos.rng = random.Random(seed)
    questions = [scripted_question(rng, f"S{number}", pace_seconds=_PACE_SECONDS) for number in range(_STREAMS)]
    outcome = await Experiment(chaos, fault, rng, questions).run()
    print(f"seed {seed}\n{report.header()}\n{report.row(outcome)}")
    assert outcome.violations == []
    assert (outcome.answers, outcome.lost, outcome.doubled, outcome.stuck) == (_STREAMS, 0, 0, 0)
