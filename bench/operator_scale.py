"""`make bench-operator`: what many VLLMModels cost, beside what is asked for, on a real control plane.

No node works: pods get their statuses through the API as a kubelet would give them, and one gRPC server
answers all probes. Times and requests are from the API server's audit log, CPU and memory from /proc,
statuses from a watch. Writes bench/results/operator-<models>.json and, from all of these, operator.md.
"""

# ruff: noqa: E402
import argparse
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / folder) for folder in ("bench", "tests", "hack/localcluster", "operator")]

from scale import report
from scale.measure import Bench, Times


def main() -> None:
    """Measure each size on a control plane of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, nargs="+", default=[500], help="sizes: 500 2000 5000")
    parser.add_argument("--churn-minutes", type=float, default=15, help="edits before the slope is measured")
    parser.add_argument("--slope-minutes", type=float, default=15, help="edits while it is measured")
    parser.add_argument("--edit-minutes", type=float, default=5, help="an edit a second, for the latency")
    parser.add_argument("--results", type=Path, default=REPOSITORY / "bench/results")
    arguments = parser.parse_args()
    times = Times(arguments.churn_minutes * 60, arguments.slope_minutes * 60, arguments.edit_minutes * 60)
    for count in arguments.models:
        result = Bench(count, times).run()
        print(report.write_json(arguments.results, result))
    print(report.write_table(arguments.results))


if __name__ == "__main__":
    main()
