"""Bad input at the API server: YAML in, exact answer out; the command refuses the same without a server."""

import json
import os
from typing import Any

import pytest
import yaml

from integration.api.tables import FOLDER, model, rows
from operatorkit.api import Api, Refused, path
from vllm_operator.api.v1alpha1 import SpecInvalid, parse_model

ROWS = rows("refused.yaml")
ANSWERS = FOLDER / "answers.yaml"


def answer(api: Api, obj: dict[str, Any]) -> list[str]:
    """What the server says against an object, as `kubectl apply` would hear it; empty if nothing."""
    query = {"dryRun": "All", "fieldValidation": "Strict"}
    try:
        api.call("POST", path("vllmmodels", obj["metadata"]["namespace"]), obj, query=query)
    except Refused as refused:
        status = json.loads(refused.body)
        causes = status.get("details", {}).get("causes") or [{"message": status["message"]}]
        return [f"{cause.get('field', '')}: {cause['message']}" for cause in causes]
    return []


@pytest.fixture(scope="session")
def answers(api: Api) -> dict[str, list[str]]:
    """The answers on file; UPDATE_ANSWERS=1 takes the server's for them first."""
    if os.environ.get("UPDATE_ANSWERS"):
        said = {row["name"]: answer(api, model(row, "default")) for row in ROWS}
        ANSWERS.write_text(yaml.safe_dump(said, sort_keys=False, width=110, allow_unicode=True))
    loaded: dict[str, list[str]] = yaml.safe_load(ANSWERS.read_text())
    return loaded


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_the_server_refuses_it_in_these_words(
    api: Api, answers: dict[str, list[str]], row: dict[str, Any]
) -> None:
    found = answer(api, model(row, "default"))
    assert found, "the server took it"
    assert found == answers[row["name"]]


@pytest.mark.parametrize("row", [row for row in ROWS if row.get("python", True)], ids=lambda row: row["name"])
def test_the_command_refuses_it_without_a_server(row: dict[str, Any]) -> None:
    with pytest.raises(SpecInvalid) as caught:
        parse_model(model(row, "default"))
    assert all(problem.message for problem in caught.value.problems)


def test_there_are_no_answers_to_inputs_that_are_gone(answers: dict[str, list[str]]) -> None:
    assert set(answers) == {row["name"] for row in ROWS}
