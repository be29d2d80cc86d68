"""The operator's Prometheus metrics. Names follow controller-runtime's, so existing dashboards fit."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

_PREFIX = "vllm_operator"

RECONCILES = Counter(f"{_PREFIX}_reconcile", "Reconciles by result.", ["result"], registry=REGISTRY)
RECONCILE_SECONDS = Histogram(
    f"{_PREFIX}_reconcile_duration_seconds",
    "How long one reconcile took.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=REGISTRY,
)
APPLIES = Counter(
    f"{_PREFIX}_apply", "Children brought to their desired form.", ["kind", "result"], registry=REGISTRY
)
API_REQUESTS = Counter(
    f"{_PREFIX}_api_requests",
    "Requests to the API server (code 0: no answer), watches not counted.",
    ["method", "kind", "code"],
    registry=REGISTRY,
)
QUEUE_DEPTH = Gauge("workqueue_depth", "Models waiting for a worker.", registry=REGISTRY)
QUEUE_SECONDS = Histogram(
    "workqueue_queue_duration_seconds",
    "How long a model that was due waited for a worker.",
    buckets=(0.001, 0.01, 0.1, 1, 10, 60),
    registry=REGISTRY,
)
QUEUE_RETRIES = Counter("workqueue_retries", "Reconciles put back after a failure.", registry=REGISTRY)
LEADER = Gauge(f"{_PREFIX}_leader", "1 while this replica holds the lease.", registry=REGISTRY)
PROBES = Counter(
    f"{_PREFIX}_probe", "Probes of model pods by what one probe found.", ["result"], registry=REGISTRY
)
PROBE_SECONDS = Histogram(
    f"{_PREFIX}_probe_duration_seconds",
    "How long one probe took.",
    buckets=(0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60),
    registry=REGISTRY,
)
WATCH_LAST_EVENT = Gauge(
    f"{_PREFIX}_watch_last_event_timestamp_seconds",
    "When a watch last delivered.",
    ["kind"],
    registry=REGISTRY,
)
PROBE_LATENESS = Histogram(
    f"{_PREFIX}_probe_lateness_seconds",
    "How long a pod that was due waited for its probe to start.",
    buckets=(0.01, 0.1, 0.5, 1, 5, 15, 60, 300),
    registry=REGISTRY,
)
PROBE_CPU = Counter(
    f"{_PREFIX}_probe_cpu_seconds", "CPU time measured of all probing, in seconds.", registry=REGISTRY
)
PROBE_PERIOD = Gauge(
    f"{_PREFIX}_probe_effective_period_seconds",
    "Longest period of a pod that is neither new nor suspect, stretched so that probing stays cheap.",
    ["namespace"],
    registry=REGISTRY,
)
PROBE_DETECTION = Gauge(
    f"{_PREFIX}_probe_detection_seconds",
    "Longest time from a fault of a pod to the verdict, from the periods now in force.",
    ["namespace"],
    registry=REGISTRY,
)
PROBES_STALE = Gauge(
    f"{_PREFIX}_probe_stale_verdicts",
    "Pods with a verdict that no probe has renewed for two effective periods.",
    registry=REGISTRY,
)
MODEL_CONDITION = Gauge(
    f"{_PREFIX}_model_condition",
    "1 for each condition of a VLLMModel, under the status and the reason that it has.",
    ["namespace", "name", "type", "status", "reason"],
    registry=REGISTRY,
)

WATCH_PROGRESS = Gauge(
    f"{_PREFIX}_watch_progress_age_seconds",
    "Seconds since a watch last showed anything: an event, a bookmark, an answer of the API server.",
    ["kind", "namespace"],
    registry=REGISTRY,
)
WATCH_FAILURES = Counter(
    f"{_PREFIX}_watch_failures",
    "Lists and watches that were refused or broke; each is tried again by itself.",
    ["kind", "namespace"],
    registry=REGISTRY,
)
WATCH_LATENESS = Histogram(
    f"{_PREFIX}_watch_lateness_seconds",
    "From a write, as its object records it in whole seconds, to the store.",
    ["kind"],
    buckets=(1, 2, 3, 5, 10, 30, 60, 300),
    registry=REGISTRY,
)

_with_probe_times: set[str] = set()
_published: dict[tuple[str, str], frozenset[tuple[str, str, str]]] = {}


def set_conditions(namespace: str, name: str, conditions: Iterable[Mapping[str, str]]) -> None:
    """Publish a model's `status.conditions`, one series each; what is gone from the status goes here too."""
    now = frozenset((found["type"], found["status"], found["reason"]) for found in conditions)
    before = _published.get((namespace, name), frozenset())
    for gone in before - now:
        MODEL_CONDITION.remove(namespace, name, *gone)
    for new in now - before:
        MODEL_CONDITION.labels(namespace, name, *new).set(1)
    _published[namespace, name] = now


def forget_model(namespace: str, name: str) -> None:
    """Drop a deleted model's series."""
    for condition in _published.pop((namespace, name), frozenset()):
        MODEL_CONDITION.remove(namespace, name, *condition)


def set_probe_times(periods: Mapping[str, float], detections: Mapping[str, float]) -> None:
    """Publish both in seconds by namespace; a namespace that is not among them has no pods any more."""
    for gauge, values in ((PROBE_PERIOD, periods), (PROBE_DETECTION, detections)):
        for gone in _with_probe_times.difference(values):
            gauge.remove(gone)
        for namespace, seconds in values.items():
            gauge.labels(namespace).set(seconds)
    _with_probe_times.clear()
    _with_probe_times.update(periods)


def measure_depth(depth: Callable[[], float]) -> None:
    """Read the queue's depth when scraped."""
    QUEUE_DEPTH.set_function(depth)


def measure_watch(kind: str, namespace: str, age: Callable[[], float]) -> None:
    """Read the age of a watch's progress when scraped; the namespace is empty for the whole cluster."""
    WATCH_PROGRESS.labels(kind, namespace).set_function(age)


def exposition() -> bytes:
    """All metrics in the Prometheus text format."""
    return generate_latest(REGISTRY)
