"""From apply to Serving and back: children, owners, scale, roll, pruning, deletion."""

import pytest

from operatorkit.api import Api, path
from operatorkit.kubelet import Kubelet, loading, ready
from operatorkit.models import Models
from operatorkit.process import OperatorProcess
from operatorkit.waiting import stays, wait_for
from tritonstandin import TritonStandIn

pytestmark = pytest.mark.usefixtures("operator")


def test_a_model_gets_its_children_and_serves(
    models: Models, name: str, healthy_triton: TritonStandIn
) -> None:
    uid = models.create(name)["metadata"]["uid"]
    models.wait_serving(name)
    children = models.children(name)
    assert {kind: len(objects) for kind, objects in children.items()} == {
        "controllerrevisions": 1,
        "configmaps": 1,
        "services": 1,
        "deployments": 1,
    }
    for objects in children.values():
        (owner,) = objects[0]["metadata"]["ownerReferences"]
        assert (owner["uid"], owner["controller"]) == (uid, True)
    status = models.get(name)["status"]
    assert status["runtime"]["vllm"] == "0.32.0"
    assert status["replicaSummary"] == "1/1"
    assert status["modelRevisions"] == ["0123456789abcdef0123456789abcdef01234567"]
    assert healthy_triton.inferences > 0
    model = models.get(name)
    assert "finalizers" not in model["metadata"]
    assert not model["metadata"].get("annotations")


def test_scale_through_the_scale_subresource_to_zero_and_back(models: Models, name: str, api: Api) -> None:
    models.create(name)
    models.wait_serving(name)

    def scale(replicas: int) -> None:
        api.merge("vllmmodels", models.namespace, name, {"spec": {"replicas": replicas}}, "scale")

    scale(2)
    wait_for("two pods serve", lambda: models.get(name)["status"]["replicaSummary"] == "2/2")
    assert models.condition(name, "Reconciling") == {}
    seen = api.call("GET", path("vllmmodels", models.namespace, name, "scale"))
    assert seen["status"] == {"replicas": 2, "selector": f"triton-vllm.dev/model={name}"}
    scale(0)
    models.wait_condition(name, "Ready", "True", "ScaledToZero")
    models.wait_condition(name, "Available", "False")
    wait_for("no pod is left", lambda: not models.pods(name))
    scale(1)
    models.wait_serving(name)


def test_a_change_rolls_and_the_old_pods_serve_until_the_new_ones_do(
    models: Models, name: str, kubelet: Kubelet, healthy_triton: TritonStandIn
) -> None:
    models.create(name, engineArgs={"max_model_len": 512})
    models.wait_serving(name)
    first = models.get(name)["status"]["currentRevision"]
    kubelet.behave(models.namespace, name, ready(healthy_triton.address))
    new_pods_load(kubelet, models, name)
    models.edit(name, engineArgs={"max_model_len": 1024})
    models.wait_condition(name, "Ready", "Unknown", "RollingOut")
    assert models.condition(name, "Available")["status"] == "True"
    assert models.condition(name, "Reconciling")["status"] == "True"
    status = models.get(name)["status"]
    assert status["currentRevision"] == first != status["updateRevision"]
    kubelet.behave(models.namespace, name, ready(healthy_triton.address))
    models.wait_serving(name)
    assert models.get(name)["status"]["currentRevision"] == status["updateRevision"]
    assert models.condition(name, "Reconciling") == {}


def new_pods_load(kubelet: Kubelet, models: Models, name: str) -> None:
    """Pods that exist stay as they are, those to come go on loading."""
    known = {pod["metadata"]["uid"]: pod["status"] for pod in models.pods(name)}
    load = loading()
    kubelet.behave(models.namespace, name, lambda pod: known.get(pod["metadata"]["uid"]) or load(pod))


def test_revisions_are_pruned_to_the_limit_and_config_maps_stay_while_a_replica_set_needs_them(
    models: Models,
    name: str,
) -> None:
    models.create(name, engineArgs={"max_model_len": 100})
    for length in (200, 300, 400, 500):
        models.wait_serving(name)
        models.edit(name, engineArgs={"max_model_len": length})
    models.wait_serving(name)

    def settled() -> bool:
        children = models.children(name)
        replica_sets = models.api.list(
            "replicasets", models.namespace, labelSelector=f"triton-vllm.dev/model={name}"
        )
        needed = {
            volume["configMap"]["name"]
            for replica_set in replica_sets
            for volume in replica_set["spec"]["template"]["spec"]["volumes"]
            if "configMap" in volume
        }
        kept = {config_map["metadata"]["name"] for config_map in children["configmaps"]}
        return kept == needed and len(kept) == 3 and len(children["controllerrevisions"]) <= 5

    wait_for("old ConfigMaps and revisions are pruned", settled)


def test_a_bad_new_generation_leaves_the_good_one_serving_scaled_and_repaired(
    models: Models, name: str, api: Api
) -> None:
    models.create(name, engineArgs={"max_model_len": 512})
    models.wait_serving(name)
    image = models.children(name)["deployments"][0]["spec"]["template"]["spec"]["containers"][0]["image"]
    models.edit(name, engineArgs={"tensor_paralel_size": 1}, replicas=2)
    models.wait_condition(name, "Stalled", "True", "InvalidEngineArgs")
    assert models.condition(name)["status"] == "False"
    wait_for("it is scaled all the same", lambda: models.get(name)["status"]["replicaSummary"] == "2/2")
    assert models.condition(name, "Available")["status"] == "True"
    api.merge("deployments", models.namespace, name, {"spec": {"replicas": 5}})
    wait_for(
        "it is repaired all the same",
        lambda: models.children(name)["deployments"][0]["spec"]["replicas"] == 2,
    )
    assert len(models.children(name)["controllerrevisions"]) == 1
    found = models.children(name)["deployments"][0]["spec"]["template"]["spec"]["containers"][0]["image"]
    assert found == image
    models.edit(name, engineArgs={"tensor_paralel_size": None})
    models.wait_serving(name)
    models.wait_condition(name, "Ready", "True")
    assert models.condition(name, "Stalled") == {}


def test_a_paused_model_is_left_alone_but_watched(models: Models, name: str, api: Api) -> None:
    models.create(name)
    models.wait_serving(name)
    models.edit(name, paused=True)
    models.wait_condition(name, "Ready", "True", "Paused")
    api.delete("services", models.namespace, name)
    stays("the Service stays away", lambda: not models.children(name)["services"], 3)
    models.edit(name, paused=False)
    wait_for("the Service is back", lambda: models.children(name)["services"])


@pytest.mark.parametrize("propagation", ["Background", "Foreground"])
def test_deleting_the_model_leaves_nothing(models: Models, name: str, api: Api, propagation: str) -> None:
    models.create(name)
    models.wait_serving(name)
    api.delete("vllmmodels", models.namespace, name, propagationPolicy=propagation)

    def nothing() -> bool:
        gone = api.get("vllmmodels", models.namespace, name) is None
        return gone and not any(models.children(name).values()) and not models.pods(name)

    wait_for("nothing of it is left", nothing, 60)


def test_a_model_made_again_under_the_same_name_gets_children_of_its_own(
    models: Models, name: str, api: Api
) -> None:
    models.create(name)
    models.wait_serving(name)
    api.delete("vllmmodels", models.namespace, name)
    uid = models.create(name)["metadata"]["uid"]
    models.wait_serving(name, seconds=60)
    for objects in models.children(name).values():
        assert uid in {obj["metadata"]["ownerReferences"][0]["uid"] for obj in objects}


def test_children_left_by_an_orphaning_deletion_are_taken_back(models: Models, name: str, api: Api) -> None:
    models.create(name)
    models.wait_serving(name)
    before = models.children(name)["deployments"][0]["metadata"]["uid"]
    api.delete("vllmmodels", models.namespace, name, propagationPolicy="Orphan")
    gone = "the model is gone"  # the garbage collector learns of a new CRD within half a minute
    wait_for(gone, lambda: api.get("vllmmodels", models.namespace, name) is None, 60)
    uid = models.create(name)["metadata"]["uid"]
    models.wait_serving(name, seconds=60)
    deployment = models.children(name)["deployments"][0]["metadata"]
    assert deployment["uid"] == before
    assert [owner["uid"] for owner in deployment["ownerReferences"]] == [uid]


def test_status_written_by_hand_is_overwritten(models: Models, name: str, api: Api) -> None:
    models.create(name)
    models.wait_serving(name)
    forged = {"status": {"replicaSummary": "9/9", "readyReplicas": 9, "conditions": []}}
    api.merge("vllmmodels", models.namespace, name, forged, "status")
    wait_for("the truth is back", lambda: models.get(name)["status"]["replicaSummary"] == "1/1")
    models.wait_serving(name)


def test_the_operator_reports_its_health_and_its_work(
    models: Models, name: str, operator: OperatorProcess
) -> None:
    models.create(name)
    models.wait_serving(name)
    assert operator.get("/healthz")[0] == 200
    assert operator.get("/readyz")[0] == 200
    text = operator.get("/metrics")[1]
    condition = (
        f'vllm_operator_model_condition{{name="{name}",namespace="{models.namespace}",reason="Serving"'
    )
    for sample in (
        "vllm_operator_leader 1.0",
        'vllm_operator_reconcile_total{result="done"}',
        'vllm_operator_apply_total{kind="Deployment",result="created"}',
        'vllm_operator_probe_total{result="Serving"}',
        f'{condition},status="True",type="Ready"}} 1.0',
        "workqueue_depth 0.0",
    ):
        assert sample in text, sample
