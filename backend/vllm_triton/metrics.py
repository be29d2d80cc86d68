"""Publishes vLLM's statistics as Triton metrics, summed up here and pushed about once a second.

When the last request ends, the rest is pushed at once: who reads the metrics after an answer finds it there.

Front ends that share an engine sum up what they see, and their leader publishes it: Triton would give them
one metric under several owners, and take it away with the first of them.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

import triton_python_backend_utils as pb_utils

from . import log
from .engine import Step
from .frontends import Follower, Leader

_PERIOD_SECONDS = 1.0
_IDLE_PERIOD_SECONDS = 0.1
# Each observation of a histogram is a message to the server process. Token latencies are observed so many in
# a push, all front ends together; the others wait for later pushes, which are more frequent when nothing
# runs. Where more would wait than this, they are thinned out at even distances.
_TOKEN_LATENCIES_PER_PUSH = 200
_TOKEN_LATENCIES_WAITING = 2000
_SUBJECT = "statistics"

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_TOKEN_SECONDS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.075,
    0.1,
    0.15,
    0.2,
    0.3,
    0.4,
    0.5,
    0.75,
    1.0,
    2.5,
)
_REQUEST_SECONDS = (
    *(0.01, 0.05, 0.1, 0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0),
    *(30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0),
)
_SEQUENCES = (1.0, 2.0, 5.0, 10.0, 20.0)

COUNTERS = {
    "vllm:prompt_tokens_total": "Number of prefill tokens processed.",
    "vllm:generation_tokens_total": "Number of generation tokens processed.",
    "vllm:num_preemptions_total": "Cumulative number of preemptions from the engine.",
    "vllm:prefix_cache_queries_total": "Prefix cache queries, in terms of number of queried tokens.",
    "vllm:prefix_cache_hits_total": "Prefix cache hits, in terms of number of cached tokens.",
}
GAUGES = {
    "vllm:num_requests_running": "Number of requests in model execution batches.",
    "vllm:num_requests_waiting": "Number of requests waiting to be processed.",
    "vllm:kv_cache_usage_perc": "KV-cache usage. 1 means 100 percent usage.",
    "vllm:prefix_cache_hit_rate": "Share of queried prompt tokens found in the prefix cache since the start.",
}
_HISTOGRAMS: dict[str, tuple[str, tuple[float, ...] | None]] = {
    "vllm:time_to_first_token_seconds": ("Time to first token in seconds.", _SECONDS),
    "vllm:time_per_output_token_seconds": ("Time per output token in seconds.", _TOKEN_SECONDS),
    "vllm:inter_token_latency_seconds": ("Inter-token latency in seconds.", _TOKEN_SECONDS),
    "vllm:e2e_request_latency_seconds": ("End to end request latency in seconds.", _REQUEST_SECONDS),
    "vllm:request_queue_time_seconds": ("Time a request spent waiting.", _REQUEST_SECONDS),
    "vllm:request_prefill_time_seconds": ("Time a request spent in prefill.", _REQUEST_SECONDS),
    "vllm:request_decode_time_seconds": ("Time a request spent in decode.", _REQUEST_SECONDS),
    "vllm:request_inference_time_seconds": ("Time a request spent running.", _REQUEST_SECONDS),
    "vllm:request_prompt_tokens": ("Number of prefill tokens of a request.", None),
    "vllm:request_generation_tokens": ("Number of generation tokens of a request.", None),
    "vllm:request_params_n": ("The n request parameter.", _SEQUENCES),
}
HISTOGRAMS = tuple(_HISTOGRAMS)
SUCCESS = "vllm:request_success_total"
_FINISH_REASONS = ("stop", "length", "abort")


def token_buckets(max_model_len: int) -> tuple[float, ...]:
    """Return 1, 2, 5, 10, ... up to the longest sequence the model takes."""
    buckets: list[float] = []
    scale = 1
    while scale <= max_model_len:
        buckets += [float(scale * step) for step in (1, 2, 5) if scale * step <= max_model_len]
        scale *= 10
    return tuple(buckets)


def evenly(values: list[float], count: int) -> list[float]:
    """Take at most `count` of the values, at even distances."""
    if len(values) <= count:
        return values
    return [values[index * len(values) // count] for index in range(count)]


Summary = dict[str, Any]  # JSON: what the steps of about a second add up to


def summarise(steps: Sequence[Step], token_latencies: Sequence[float], *, idle: bool) -> Summary:
    """Add up steps of the engine; the latencies of tokens are those to be told now."""
    sums: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for step in steps:
        sums["vllm:prompt_tokens_total"] += step.prompt_tokens
        sums["vllm:generation_tokens_total"] += step.generation_tokens
        sums["vllm:num_preemptions_total"] += step.preemptions
        sums["vllm:prefix_cache_queries_total"] += step.prefix_cache_queries
        sums["vllm:prefix_cache_hits_total"] += step.prefix_cache_hits
        reasons.update(request.finish_reason for request in step.finished)
    gauges: dict[str, float] = {}
    # vLLM tells the state of its scheduler to one front end in each step.
    scheduled = next((step for step in reversed(steps) if step.running is not None), None)
    if scheduled is not None:
        gauges["vllm:num_requests_running"] = float(scheduled.running or 0)
        gauges["vllm:num_requests_waiting"] = float(scheduled.waiting)
        gauges["vllm:kv_cache_usage_perc"] = scheduled.kv_cache_usage
    finished = [request for step in steps for request in step.finished]
    observations = {
        "vllm:time_to_first_token_seconds": [v for step in steps for v in step.first_token_latencies],
        "vllm:time_per_output_token_seconds": token_latencies,
        "vllm:inter_token_latency_seconds": token_latencies,
        "vllm:e2e_request_latency_seconds": [request.e2e_latency for request in finished],
        "vllm:request_queue_time_seconds": [request.queued_time for request in finished],
        "vllm:request_prefill_time_seconds": [request.prefill_time for request in finished],
        "vllm:request_decode_time_seconds": [request.decode_time for request in finished],
        "vllm:request_inference_time_seconds": [request.inference_time for request in finished],
        "vllm:request_prompt_tokens": [float(request.prompt_tokens) for request in finished],
        "vllm:request_generation_tokens": [float(request.generation_tokens) for request in finished],
        "vllm:request_params_n": [float(n) for step in steps for n in step.params_n],
    }
    return {"sums": sums, "reasons": reasons, "gauges": gauges, "observations": observations, "idle": idle}


class Statistics:
    """Gathers the steps that a front end sees; `take` is called on the event loop for every one."""

    def __init__(self, frontend: Leader | Follower) -> None:
        self._frontend = frontend
        self._steps: deque[Step] = deque()
        self._token_latencies: list[float] = []
        self._idle: Callable[[], bool] = lambda: False
        self._told_idle = True
        self._due = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self, step: Step) -> None:
        """Note one step of the engine."""
        self._steps.append(step)
        if self._idle():
            self._due.set()

    def start(self, idle: Callable[[], bool]) -> None:
        """Begin to tell the leader; what the warm-up left is not counted."""
        self._idle = idle
        self._steps.clear()
        self._thread = threading.Thread(target=self._run, name="vllm-statistics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Tell what is left and end the thread."""
        self._stopping.set()
        self._due.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._due.wait(_PERIOD_SECONDS)
            self._due.clear()
            self._tell()
            self._stopping.wait(_IDLE_PERIOD_SECONDS)
        self._tell()

    def _tell(self) -> None:
        steps = []
        while self._steps:
            steps.append(self._steps.popleft())
        idle = self._idle()
        front_ends = self._frontend.seat.count
        waiting = [*self._token_latencies, *(value for step in steps for value in step.token_latencies)]
        waiting = evenly(waiting, _TOKEN_LATENCIES_WAITING // front_ends)
        if not steps and not waiting and idle == self._told_idle:
            return
        self._told_idle = idle
        now = _TOKEN_LATENCIES_PER_PUSH // front_ends
        self._token_latencies = waiting[now:]
        if idle and self._token_latencies:
            self._due.set()
        self._frontend.tell(_SUBJECT, summarise(steps, waiting[:now], idle=idle))


class Metrics:
    """The model's metrics, held by the leader."""

    def __init__(self, name: str, version: str, max_model_len: int) -> None:
        self._labels = {"model": name, "version": version}
        # Held while Triton is told: summaries come on several threads, and none may come after the end.
        self._lock = threading.Lock()
        self._stopped = False
        # A family must outlive its metrics.
        self._families: list[Any] = []
        self._counters = {
            name: self._one(name, text, pb_utils.MetricFamily.COUNTER) for name, text in COUNTERS.items()
        }
        self._gauges = {
            name: self._one(name, text, pb_utils.MetricFamily.GAUGE) for name, text in GAUGES.items()
        }
        self._histograms = {
            name: self._one(
                name, text, pb_utils.MetricFamily.HISTOGRAM, list(buckets or token_buckets(max_model_len))
            )
            for name, (text, buckets) in _HISTOGRAMS.items()
        }
        self._success_family = pb_utils.MetricFamily(
            name=SUCCESS,
            description="Count of finished requests by reason.",
            kind=pb_utils.MetricFamily.COUNTER,
        )
        self._success = {reason: self._reason(reason) for reason in _FINISH_REASONS}
        self._shown: dict[str, float] = {}
        self._queries = 0
        self._hits = 0
        self._busy: set[int] = set()

    def _one(self, name: str, text: str, kind: Any, buckets: list[float] | None = None) -> Any:
        family = pb_utils.MetricFamily(name=name, description=text, kind=kind)
        self._families.append(family)
        extra = {"buckets": buckets} if buckets is not None else {}
        return family.Metric(labels=self._labels, **extra)

    def _reason(self, reason: str) -> Any:
        return self._success_family.Metric(labels={**self._labels, "finished_reason": reason})

    def stop(self) -> None:
        """Give the metrics back."""
        with self._lock:
            self._stopped = True
            for metrics in (self._counters, self._gauges, self._histograms, self._success):
                metrics.clear()
            self._families.clear()

    def push(self, index: int, summary: Summary) -> None:
        """Publish what a front end has seen; never raises."""
        with self._lock:
            if self._stopped:
                return
            try:
                self._push_counters(summary)
                self._push_gauges(index, summary)
                self._push_observations(summary)
            except Exception as error:
                log.defect("the metrics could not be pushed", error)

    def _push_observations(self, summary: Summary) -> None:
        for name, values in summary["observations"].items():
            metric = self._histograms[name]
            for value in values:
                metric.observe(value)

    def _push_counters(self, summary: Summary) -> None:
        sums = summary["sums"]
        for name, value in sums.items():
            if value:
                self._counters[name].increment(value)
        for reason, value in summary["reasons"].items():
            if reason not in self._success:
                self._success[reason] = self._reason(reason)
            self._success[reason].increment(value)
        self._queries += sums.get("vllm:prefix_cache_queries_total", 0)
        self._hits += sums.get("vllm:prefix_cache_hits_total", 0)

    def _push_gauges(self, index: int, summary: Summary) -> None:
        values: dict[str, float] = dict(summary["gauges"])
        if summary["idle"]:
            self._busy.discard(index)
        else:
            self._busy.add(index)
        if not self._busy:
            # The engine takes no step any more, so that nothing else would say that it is empty.
            values["vllm:num_requests_running"] = 0.0
            values["vllm:num_requests_waiting"] = 0.0
            values["vllm:kv_cache_usage_perc"] = 0.0
        if self._queries:
            values["vllm:prefix_cache_hit_rate"] = self._hits / self._queries
        for name, value in values.items():
            if self._shown.get(name, 0.0) != value:
                self._gauges[name].set(value)
                self._shown[name] = value


def publish(frontend: Leader | Follower, name: str, version: str, max_model_len: int) -> Metrics | None:
    """Have the leader publish what it is told; None elsewhere, or if the server has metrics switched off."""
    if isinstance(frontend, Follower):
        return None
    try:
        metrics = Metrics(name, version, max_model_len)
    except pb_utils.TritonModelException as error:
        if "metrics not supported" not in str(error).lower():
            raise
        log.warning("metrics are switched off in this server: vLLM's are not published")
        return None
    frontend.subscribe(_SUBJECT, metrics.push)
    frontend.publishing = True
    return metrics
