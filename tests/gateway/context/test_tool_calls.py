import pytest

from gateway.context.tool_calls import call_ids, check_tool_outputs, drop_orphaned_outputs
from gateway.errors import InvalidRequest
from gateway.protocol.items import FunctionCall, FunctionCallOutput, Item
from tests.gateway.items import question

QUESTION = question(1)
CALL = FunctionCall("fc_1", "call_1", "add", "{}", "completed")
OUTPUT = FunctionCallOutput("fco_1", "call_1", "2", "completed")
ORPHAN = FunctionCallOutput("fco_2", "call_2", "3", "completed")


@pytest.mark.parametrize(("history", "new"), [([QUESTION, CALL], [OUTPUT]), ([], [CALL, OUTPUT]), ([], [QUESTION])])
def test_an_output_is_accepted_if_its_call_is_in_the_history_or_the_input(history: list[Item], new: list[Item]) -> None:
    check_tool_outputs(history, new)


@pytest.mark.parametrize("history", [[], [QUESTION, CALL]])
def test_an_output_without_its_call_is_refused_by_name(history: list[Item]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_tool_outputs(history, [QUESTION, ORPHAN])
    assert caught.value.param == "input"
    assert "'call_2'" in caught.value.message


def test_an_orphaned_output_of_the_history_is_no_error_of_the_request() -> None:
    check_tool_outputs([ORPHAN], [QUESTION])


def test_only_outputs_whose_call_is_gone_are_dropped() -> None:
    assert drop_orphaned_outputs([QUESTION, CALL, OUTPUT, ORPHAN]) == [QUESTION, CALL, OUTPUT]


def test_the_ids_of_all_calls_are_found_and_none_of_outputs() -> None:
    assert call_ids([QUESTION, CALL, ORPHAN]) == {"call_1"}
