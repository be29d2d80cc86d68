"""A whole list in pages, each of which fits into memory however large its objects are."""

from collections.abc import AsyncIterator
from typing import Final

from vllm_operator.kube.client import PAGE, KubeClient, Page
from vllm_operator.kube.errors import TooLarge
from vllm_operator.kube.resources import Resource

_SMALLER: Final = 5
_LARGER: Final = 2


async def pages(
    client: KubeClient, resource: Resource, namespace: str | None, *, label_selector: str
) -> AsyncIterator[Page]:
    """All pages, from one snapshot. Raises ApiError, of which an expired snapshot (410) is one.

    Anybody who may create a ConfigMap can make it 1 MiB, and some hundred of them: a page that is too large
    is asked for again with fewer objects in it.
    """
    limit, token = PAGE, ""
    while True:
        try:
            page = await client.page(
                resource, namespace, label_selector=label_selector, limit=limit, token=token
            )
        except TooLarge:
            limit = max(1, limit // _SMALLER)
            continue
        yield page
        if not (token := page.token):
            return
        limit = min(PAGE, limit * _LARGER)
