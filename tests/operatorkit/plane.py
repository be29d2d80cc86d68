"""A control plane made ready for VLLMModels."""

from pathlib import Path

import yaml

from localcluster.controlplane import ControlPlane
from operatorkit.api import Api, Refused
from operatorkit.process import REPOSITORY
from operatorkit.waiting import wait_for


def connect(plane: ControlPlane) -> Api:
    """An administrator's client of a control plane, with the committed CRD installed."""
    administrator = plane.files.administrator()
    client = Api(plane.url, administrator.token, str(plane.files.authority))
    define(client, REPOSITORY / "crds")

    def served() -> bool:
        try:
            return client.list("vllmmodels") == []
        except Refused:
            return False

    wait_for("VLLMModels are served", served)
    return client


def define(api: Api, folder: Path) -> None:
    """Apply the definitions in a folder."""
    for file in sorted(folder.glob("*.yaml")):
        api.apply("customresourcedefinitions", yaml.safe_load(file.read_text()))
