"""What a watch loses the LIST of a resync finds: a deletion while the watch is told to list anew."""

from pathlib import Path

from integration.conftest import StartOperator
from operatorkit.api import Api
from operatorkit.models import Models
from operatorkit.proxy import Proxy
from operatorkit.release import Release
from operatorkit.waiting import wait_for


def test_a_deletion_lost_across_an_expired_watch_is_found_by_the_resync(
    release: Release, models: Models, name: str, api: Api, start_operator: StartOperator, tmp_path: Path
) -> None:
    with Proxy(release.kubeconfig(), tmp_path) as wire:
        operator = start_operator(kubeconfig=wire.kubeconfig, RESYNC_SECONDS="5")
        models.create(name)
        models.wait_serving(name)
        # From here on no watch of Services tells anything: each is answered 410 Expired.
        wire.refuse_watch = lambda path: path.endswith("/services")
        wire.break_watches()
        (service,) = models.children(name)["services"]
        api.delete("services", models.namespace, name)

        def back() -> bool:
            found = models.children(name)["services"]
            return bool(found) and found[0]["metadata"]["uid"] != service["metadata"]["uid"]

        wait_for("the Service is back", back, 30)
        assert operator.returncode() is None
        operator.kill()
