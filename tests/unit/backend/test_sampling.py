"""Parameters of a request, before vLLM sees them."""

import pytest

from vllm_triton.errors import Kind, RequestFailed
from vllm_triton.requests import parse_bool
from vllm_triton.sampling import check_names, normalise, split_options, template_arguments


def test_options_are_taken_out_and_the_rest_is_left() -> None:
    options, rest = split_options(
        {"lora_name": "doll", "priority": "3", "timeout_seconds": "2.5", "top_p": 0.5}, 0
    )
    assert (options.lora_name, options.priority, options.timeout_seconds) == ("doll", 3, 2.5)
    assert rest == {"top_p": 0.5}


def test_tritons_own_timeout_counts_unless_the_request_says_otherwise() -> None:
    assert split_options({}, 1_500_000)[0].timeout_seconds == 1.5
    assert split_options({"timeout_seconds": 9}, 1_500_000)[0].timeout_seconds == 9
    assert split_options({}, 0)[0].timeout_seconds is None


@pytest.mark.parametrize(
    "parameters",
    [
        {"lora_name": 1},
        {"priority": True},
        {"priority": "x"},
        {"priority": 10**30},
        {"timeout_seconds": 0},
        {"timeout_seconds": "nan"},
    ],
)
def test_wrong_options_are_named(parameters: dict[str, object]) -> None:
    with pytest.raises(RequestFailed, match=next(iter(parameters))) as failure:
        split_options(parameters, 0)
    assert failure.value.kind is Kind.INVALID_ARG


def test_all_unknown_names_are_listed_with_the_nearest_valid_one() -> None:
    with pytest.raises(RequestFailed) as failure:
        check_names(["temprature", "lora_nam", "qqq", "top_p"], {"temperature", "top_p"})
    assert "'temprature' (did you mean 'temperature'?)" in str(failure.value)
    assert "'lora_nam' (did you mean 'lora_name'?)" in str(failure.value)
    assert "'qqq'" in str(failure.value)


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({"structured_outputs": '{"json": {}, "_backend": null}'}, {"structured_outputs": {"json": {}}}),
        ({"stop_token_ids": "[1, 2]"}, {"stop_token_ids": [1, 2]}),
        ({"stop": '["a", "b"]'}, {"stop": ["a", "b"]}),
        ({"stop": "[]"}, {"stop": "[]"}),
        ({"stop": "[a]"}, {"stop": "[a]"}),
        ({"logit_bias": '{"5": -1}'}, {"logit_bias": {"5": -1}}),
        ({"extra_args": '{"a": 1}'}, {"extra_args": {"a": 1}}),
    ],
)
def test_lists_and_objects_as_text(given: dict[str, object], taken: dict[str, object]) -> None:
    assert normalise(given, {"json", "choice"}) == taken


@pytest.mark.parametrize(("text", "value"), [("false", False), (" True ", True), ("0", False), ("yes", True)])
def test_booleans_as_text(text: str, value: bool) -> None:
    assert parse_bool(text, "stream") is value


def test_other_text_is_no_boolean() -> None:
    with pytest.raises(RequestFailed, match="`stream` must be true or false"):
        parse_bool("maybe", "stream")


@pytest.mark.parametrize("constraint", ["{}", {"json": None}, {"json": {}, "choice": ["a"]}])
def test_a_constraint_is_exactly_one(constraint: object) -> None:
    with pytest.raises(RequestFailed, match="`structured_outputs` must have exactly one of json, "):
        normalise({"structured_outputs": constraint}, {"json", "choice"})


def test_arguments_of_the_chat_template() -> None:
    assert template_arguments(None) == {}
    assert template_arguments('{"a": 1}') == template_arguments({"a": 1}) == {"a": 1}
    for wrong in ("[1]", "{", 3):
        with pytest.raises(RequestFailed, match="`chat_template_kwargs`"):
            template_arguments(wrong)
