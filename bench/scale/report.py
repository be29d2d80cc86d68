"""bench/results: the figures of each size as JSON, and a table of them beside what is asked for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Result = dict[str, Any]

_HEAD = """\
# VLLMModels by the thousand, on the control-plane profile

Written by `make bench-operator` from the JSON files beside it. The cores run the API server, etcd, the
controllers, the scheduler, the load generator and the operator, so times are upper bounds. Memory is resident
memory; the peak is the process's own (VmHWM). `slope` is the line through the memory during more edits, one a
second, after minutes of them. At rest nothing changes, and each pod is probed.
"""


def write_json(folder: Path, result: Result) -> Path:
    """One file a size."""
    file = folder / f"operator-{result['models']}.json"
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=2) + "\n")
    return file


def write_table(folder: Path) -> str:
    """The table of all sizes that have a file; returns it, too."""
    results = [json.loads(file.read_text()) for file in folder.glob("operator-*.json")]
    results.sort(key=lambda result: result["models"])
    text = table(results)
    (folder / "operator.md").write_text(text)
    return text


def table(results: list[Result]) -> str:
    """A column for each size; the first one says what is asked for at 5,000."""
    sizes = [f"{result['models']:,} models" for result in results]
    lines = [_HEAD, f"| | asked for | {' | '.join(sizes)} |"]
    lines.append("|---|---|" + "---|" * len(results))
    for what, asked, figure in _ROWS:
        lines.append(f"| {what} | {asked} | {' | '.join(_cell(figure, result) for result in results)} |")
    for result in results:
        lines += ["", f"## Requests of {result['models']:,} models", ""]
        lines += ["| request | until all had a status | at rest, a minute | restart |", "|---|---|---|---|"]
        parts = [result[key] for key in ("creation_requests", "rest_requests", "restart_requests")]
        for request in sorted({request for part in parts for request in part}):
            lines.append(f"| {request} | {' | '.join(str(part.get(request, 0)) for part in parts)} |")
    return "\n".join(lines) + "\n"


def _cell(figure: Callable[[Result], str], result: Result) -> str:
    try:
        return figure(result)
    except (KeyError, TypeError):
        return "not measured"


def _not_watches(requests: dict[str, int]) -> int:
    return sum(number for what, number in requests.items() if not what.startswith("watch "))


def _children(result: Result) -> str:
    median, longest = result["each_median_seconds"], result["each_longest_seconds"]
    return f"median {median:.1f} s, longest {longest:.1f} s"


_ROWS: list[tuple[str, str, Callable[[Result], str]]] = [
    ("date, cores", "two cores", lambda r: f"{r['date']}, {r['cores']}"),
    ("Kubernetes, Python", "", lambda r: f"{r['kubernetes']}, {r['python']}"),
    ("creating the objects", "", lambda r: f"{r['created_seconds']:.1f} s"),
    ("children and status of all", "300 s", lambda r: f"{r['all_have_status_seconds']:.1f} s"),
    ("of one model", "", _children),
    ("all serve (a pod each, probed)", "", lambda r: f"{r['serving_seconds']:.1f} s"),
    ("operator CPU until all had a status", "", lambda r: f"{r['cpu_ms_per_model']:.0f} ms a model"),
    ("memory at rest", "400 MiB", lambda r: f"{r['rest_resident_mib']:.0f} MiB"),
    ("peak while all were made", "", lambda r: f"{r['peak_start_mib']:.0f} MiB"),
    ("memory after churn", "", lambda r: f"{r['churned_resident_mib']:.0f} MiB"),
    ("slope of memory", "1 MiB an hour", lambda r: f"{r['slope_mib_an_hour']:.1f} MiB an hour"),
    ("CPU at rest", "10 s a minute", lambda r: f"{r['rest_cpu_seconds_a_minute']:.1f} s a minute"),
    ("requests at rest but watches", "0", lambda r: str(_not_watches(r["rest_requests"]))),
    ("longest probe period at rest", "", lambda r: f"{r['effective_period_seconds']:.0f} s"),
    ("restart: every model reconciled", "30 s", lambda r: f"{r['restart_seconds']:.1f} s"),
    ("restart: writes", "0", lambda r: str(r["restart_writes"])),
    ("restart: reads of single objects", "0", lambda r: str(_gets(r["restart_requests"]))),
    ("restart: peak", "the chart's limit", lambda r: f"{r['restart_peak_mib']:.0f} MiB"),
    ("restart: serving models called False", "0", lambda r: str(r["restart_called_false"])),
    (
        "restart: called Unknown",
        "0 in two periods",
        lambda r: f"{r['restart_called_unknown']} in {r['restart_watched_seconds']:.0f} s",
    ),
    ("edit to status, median", "", lambda r: f"{r['latency_p50_ms']:.0f} ms of {r['edits']} edits"),
    ("edit to status, 99 %", "250 ms (1,000 models)", lambda r: f"{r['latency_p99_ms']:.0f} ms"),
]


def _gets(requests: dict[str, int]) -> int:
    return sum(number for what, number in requests.items() if what.startswith("get "))
