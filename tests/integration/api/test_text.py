"""Any text that a user or a log may bring arrives as it is, also through server-side apply."""

import pytest
from kubernetes.aio.client import Configuration

from localcluster.controlplane import ControlPlane
from operatorkit.api import Api
from vllm_operator.kube.client import KubeClient

TEXTS = {
    "an emoji": "\U0001f917 Transformers",
    "controls": "a\x00b\x01c\x1b[31md\x7fe\x9ff",
    "line ends": "a\nb\r\nc\x85d\u2028e\u2029f",
    "marks": "\ufeffa\ufffeb\uffffc",
    "YAML": "a: {b: [*c, &d, !e]} # f\n---\n...",
    "shell": "$(reboot); `reboot` \"'\\",
    "scripts": "ж 日本語 العربية é",
    "backslashes": "\\ud83e\\udd17",
}


@pytest.mark.parametrize("name", sorted(TEXTS))
async def test_text_survives(api: Api, control_plane: ControlPlane, namespace: str, name: str) -> None:
    configuration = Configuration(host=control_plane.url)
    configuration.ssl_ca_cert = str(control_plane.files.authority)
    configuration.api_key = {"BearerToken": f"Bearer {control_plane.files.administrator().token}"}
    client = KubeClient(configuration, namespace=namespace, timeout_seconds=20)
    try:
        stored = await client.apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "text", "namespace": namespace},
                "data": {"text": TEXTS[name]},
            },
            field_manager="vllm-operator",
        )
    finally:
        await client.close()
    assert stored["data"]["text"] == TEXTS[name]
