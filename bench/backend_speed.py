"""The backend beside vLLM's bare engine: tokens per second received, on CPU with the tiny model.

Both run on this machine, loaded in turn, so that the ratios of a round share its noise. Prints medians and
spreads and writes bench/results/backend-<date>.json. Goals: streamed at 64 in flight at least 0.5 of the
engine, not streamed at least 0.8; alone, the added time per token beside one empty gRPC message.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("tests", "hack/localcluster", "runtime")]

from backend.serving import ENGINE, ENVIRONMENT, Installation, Model, Server, installation  # noqa: E402
from backend_load import Load, run  # noqa: E402

LEVELS: dict[str, dict[str, Any]] = {
    "streamed, 64 in flight": {"in_flight": 64, "tokens": 128, "requests": 256, "stream": True},
    "not streamed, 64 in flight": {"in_flight": 64, "tokens": 128, "requests": 256, "stream": False},
    "streamed, alone": {"in_flight": 1, "tokens": 128, "requests": 6, "stream": True},
}


class BareEngine:
    """vLLM's engine in a process of its own, told what to measure line by line."""

    def __init__(self, where: Installation) -> None:
        folder = where.path / "tmp/bench-bare"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.json").write_text(json.dumps({"model": where.source, **ENGINE}))
        (folder / "bare.py").write_text((ROOT / "bench/backend_bare.py").read_text())
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = where.popen(
            [where.python, "/tmp/bench-bare/bare.py", "/tmp/bench-bare/model.json"],
            ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def measure(self, level: dict[str, Any]) -> dict[str, float]:
        """Run one load."""
        self._process.stdin.write(json.dumps({**level, "words": 24}) + "\n")
        self._process.stdin.flush()
        while line := self._process.stdout.readline():
            if line.startswith("{"):
                return dict(json.loads(line))
        self._log.seek(0)
        raise SystemExit(f"the bare engine ended: {self._log.read()[-3000:].decode(errors='replace')}")

    def close(self) -> None:
        """End it."""
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()


def empty_message_ms(server: Server) -> float:
    """The time of one empty gRPC call to the same server."""
    import tritonclient.grpc as grpcclient

    client = grpcclient.InferenceServerClient(f"127.0.0.1:{server.grpc_port}")
    times = []
    for _ in range(500):
        began = time.perf_counter()
        client.is_server_live()
        times.append(time.perf_counter() - began)
    client.close()
    return statistics.median(times) * 1e3


def rounds(
    engine: BareEngine, server: Server, count: int, show: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Measure every level in turn, the engine and the server one after the other."""
    rows = []
    for number in range(count):
        for name, level in LEVELS.items():
            bare = engine.measure(level)
            ours = run(Load(address=f"127.0.0.1:{server.grpc_port}", **level))
            row = {
                "round": number,
                "level": name,
                "engine": bare,
                "ours": ours,
                "ratio": ours["tokens_per_second"] / bare["tokens_per_second"],
                # What the clients took of the machine's cores was not there for the server.
                "ratio_corrected": ours["tokens_per_second"]
                / bare["tokens_per_second"]
                * (CORES / (CORES - min(ours["client_cores"], CORES - 0.1))),
            }
            rows.append(row)
            show(
                f"round {number + 1}, {name}: engine {bare['tokens_per_second']:.0f} tok/s, "
                f"ours {ours['tokens_per_second']:.0f} ({row['ratio']:.2f}), "
                f"{ours['responses_per_request']:.0f} responses a request, "
                f"clients {ours['client_cores']:.2f} cores"
            )
    return rows


def summary(rows: list[dict[str, Any]], message_ms: float) -> dict[str, Any]:
    """Medians and spreads."""
    found: dict[str, Any] = {"empty_grpc_message_ms": message_ms}
    for name in LEVELS:
        mine = [row for row in rows if row["level"] == name]
        ratios = sorted(row["ratio"] for row in mine)
        found[name] = {
            "engine_tokens_per_second": statistics.median(r["engine"]["tokens_per_second"] for r in mine),
            "ours_tokens_per_second": statistics.median(r["ours"]["tokens_per_second"] for r in mine),
            "ratio_median": statistics.median(ratios),
            "ratio_spread": [ratios[0], ratios[-1]],
            "ratio_corrected_median": statistics.median(r["ratio_corrected"] for r in mine),
            "client_cores": statistics.median(r["ours"]["client_cores"] for r in mine),
        }
    alone = [row for row in rows if row["level"] == "streamed, alone"]
    found["added_ms_per_token_alone"] = statistics.median(
        (1 / r["ours"]["tokens_per_second"] - 1 / r["engine"]["tokens_per_second"]) * 1e3 for r in alone
    )
    return found


CORES = len(os.sched_getaffinity(0))


def main() -> None:
    """Start both, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, installation(Path(scratch)) as where:
        engine = BareEngine(where)
        server = Server(where, {"vllm_model": Model()})
        try:
            server.wait_ready()
            message_ms = empty_message_ms(server)
            rows = rounds(engine, server, arguments.rounds, lambda text: print(text, flush=True))
        finally:
            engine.close()
            server.close()
    report = {
        "when": datetime.now(UTC).isoformat(),
        "cores": CORES,
        "summary": summary(rows, message_ms),
        "rows": rows,
    }
    results = ROOT / "bench/results"
    results.mkdir(exist_ok=True)
    path = results / f"backend-{datetime.now(UTC):%Y-%m-%d-%H%M}.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report["summary"], indent=1))
    print(f"written to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
