"""Posts each Event once: their names are the same whenever the same thing is said of the same pod."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime

from vllm_operator.api.meta import FIELD_MANAGER
from vllm_operator.kube.client import KubeClient
from vllm_operator.kube.errors import ApiError
from vllm_operator.observed.store import Key
from vllm_operator.status.compute import StatusInputs
from vllm_operator.status.events import events
from vllm_operator.telemetry import logs

_log = logs.get("reconcile.events")


@dataclass(slots=True)
class EventPoster:
    """Remembers names only to spare requests: after a restart the API server answers 409."""

    client: KubeClient
    reporter: str
    """This replica's name."""
    _posted: defaultdict[Key, set[str]] = field(default_factory=lambda: defaultdict(set))

    async def post(self, inputs: StatusInputs, now: datetime) -> None:
        """Post what has not been posted. An Event that cannot be posted never fails a reconcile."""
        wanted = {event["metadata"]["name"]: event for event in events(inputs, now, reporter=self.reporter)}
        posted = self._posted[Key(inputs.identity.namespace, inputs.identity.name)]
        for name in wanted.keys() - posted:
            try:
                await self.client.create(wanted[name], field_manager=FIELD_MANAGER)
            except ApiError as error:
                if not error.already_exists:
                    _log.warning("event not posted", problem=str(error))
                    continue
            posted.add(name)

    def forget(self, key: Key) -> None:
        """The model is gone."""
        self._posted.pop(key, None)
