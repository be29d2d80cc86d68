"""Publishes as metrics how often pods are probed now, and how long a fault may stay unseen."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from vllm_operator.probe import schedule
from vllm_operator.probe.pod import PodProbe
from vllm_operator.probe.triton import deadline_seconds
from vllm_operator.telemetry import metrics


def publish(pods: Sequence[PodProbe], paces: Mapping[str, schedule.Pace]) -> None:
    """Set the gauges; by namespace the longest of its pods' times, in seconds."""
    periods: dict[str, float] = defaultdict(float)
    detections: dict[str, float] = defaultdict(float)
    for probed in pods:
        namespace, target = probed.key.namespace, probed.target
        pace = paces.get(namespace) or schedule.Pace()
        routine = target.period_seconds * pace.routine
        detection = schedule.seconds_to_detect(
            target,
            deadline=deadline_seconds(target),
            routine=routine,
            urgent=target.period_seconds * pace.urgent,
        )
        periods[namespace] = max(periods[namespace], routine)
        detections[namespace] = max(detections[namespace], detection)
    metrics.set_probe_times(periods, detections)
    metrics.PROBES_STALE.set(sum(probed.stale for probed in pods))
