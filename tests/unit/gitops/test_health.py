"""The health rules for Argo CD and Flux, run over the statuses that the operator computes."""

from pathlib import Path
from typing import Any

import cel
import lupa
import pytest
import yaml

from unit.status.test_cases import CASES, Case, kstatus, status_of
from vllm_operator.api.crd import _INITIAL_STATUS

GITOPS = Path(__file__).parents[3] / "docs" / "gitops"
NOT_SEEN = {"status": dict(_INITIAL_STATUS), "metadata": {"generation": 1}}

ARGO = {
    "just created": "Progressing",
    "new object, loading": "Progressing",
    "rolling, old serves": "Progressing",
    "rolling, no spare GPU": "Progressing",
    "bad new generation, old serves": "Degraded",
    "hangs later": "Degraded",
    "zero replicas": "Healthy",
    "serving": "Healthy",
    "one more replica asked for": "Progressing",
    "name taken": "Progressing",
    "paused before it began": "Suspended",
    "paused while serving": "Suspended",
    "unreachable": "Progressing",
}


def as_object(case: Case) -> dict[str, Any]:
    status = status_of(case.model, case.cluster(), problems=case.problems)
    return {**case.model.object(), "status": status}


def argo(obj: dict[str, Any]) -> tuple[str, str]:
    """What Argo CD makes of an object: it runs the text as a function with `obj`."""
    lua = lupa.LuaRuntime(unpack_returned_tuples=True)
    health = lua.eval("function(obj, text) _G.obj = obj; return load(text)() end")(
        lua.table_from(obj, recursive=True), (GITOPS / "argocd-health.lua").read_text()
    )
    return health["status"], health["message"]


def flux(obj: dict[str, Any]) -> str:
    """What Flux makes of an object: in progress, then failed, then current, otherwise still in progress."""
    (check,) = yaml.safe_load((GITOPS / "flux-health-checks.yaml").read_text())["healthCheckExprs"]
    assert (check["apiVersion"], check["kind"]) == (obj["apiVersion"], obj["kind"])
    for name, status in (("inProgress", "InProgress"), ("failed", "Failed"), ("current", "Current")):
        if cel.evaluate(check[name], obj):
            return status
    return "InProgress"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_argo_cd(case: Case) -> None:
    status, message = argo(as_object(case))
    assert status == ARGO[case.name]
    assert message


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_flux_agrees_with_kstatus(case: Case) -> None:
    obj = as_object(case)
    assert flux(obj) == kstatus(obj["status"], case.model.generation) == case.kstatus


@pytest.mark.parametrize("obj", [NOT_SEEN, {"metadata": {"generation": 1}}], ids=["default", "no status"])
def test_argo_cd_waits_for_the_operator(obj: dict[str, Any]) -> None:
    assert argo(obj)[0] == "Progressing"


def test_a_new_generation_is_in_progress_until_it_is_seen() -> None:
    serving = next(case for case in CASES if case.name == "serving")
    obj = as_object(serving)
    obj["metadata"]["generation"] = 2
    assert argo(obj)[0] == "Progressing"
    assert flux(obj) == "InProgress"
