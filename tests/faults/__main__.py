"""`make test-faults`: run the scenarios, several at a time."""

import argparse
import importlib
import os
import pkgutil
import signal
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from faults import scenarios, table
from faults.scenario import REGISTERED, Outcome, Scenario
from faults.scene import Hall, Scene
from localcluster.controlplane import ControlPlane
from operatorkit.kubelet import Kubelet, ready
from operatorkit.plane import connect
from operatorkit.process import OperatorProcess
from operatorkit.triton import healthy_triton

#: Most scenarios wait most of the time; more at once and the two cores become the fault.
_IN_FLIGHT = 6


def main() -> int:
    """Run what was asked for; the exit code is the number of scenarios that did not hold, at most 100."""
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("words", nargs="*", help="only scenarios in whose name or group one of these is")
    parser.add_argument("--quick", action="store_true", help="only those that are a part of `make test`")
    parser.add_argument("--list", action="store_true", help="print them and end")
    parser.add_argument("--write", action="store_true", help="write what came of them into docs/faults.md")
    parser.add_argument("--in-flight", type=int, default=_IN_FLIGHT)
    parser.add_argument("--logs", type=Path, help="a folder for the operators' logs of what did not hold")
    arguments = parser.parse_args()
    chosen = _chosen(arguments.words, quick=arguments.quick)
    if arguments.list:
        print(*(f"{one.group}: {one.name} - {one.fault}" for one in chosen), sep="\n")
        return 0
    if not chosen:
        parser.error("no scenario has such a name")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end_at_once)
    began = time.monotonic()
    outcomes = _run(chosen, arguments.in_flight, arguments.logs)
    held = sum(outcome.held for outcome in outcomes)
    print(f"{held} of {len(outcomes)} held, in {time.monotonic() - began:.0f} s", flush=True)
    if arguments.write:
        print(f"wrote {table.write(outcomes)}")
    return min(len(outcomes) - held, 100)


def _end_at_once(number: int, _: object) -> None:
    """Told to end: the control plane ends with this process, the operators would outlive it."""
    for operator in list(OperatorProcess.known):
        operator.kill()
    os._exit(128 + number)


def _chosen(words: list[str], *, quick: bool) -> list[Scenario]:
    for module in pkgutil.iter_modules(scenarios.__path__):
        importlib.import_module(f"faults.scenarios.{module.name}")
    return [
        one
        for one in REGISTERED
        if (one.quick or not quick)
        and (not words or any(word in one.name or word == one.group for word in words))
    ]


def _run(chosen: list[Scenario], in_flight: int, logs: Path | None) -> list[Outcome]:
    """Those that share the control plane first, then those that hurt it, one by one."""
    outcomes = []
    with ControlPlane() as plane, healthy_triton() as triton:
        api = connect(plane)
        with (
            Kubelet(api, ready(triton)) as kubelet,
            ThreadPoolExecutor(in_flight, thread_name_prefix="scenario") as pool,
        ):
            hall = Hall(plane, api, kubelet, triton)
            together = [pool.submit(_play, hall, one, logs) for one in chosen if not one.alone]
            for future in as_completed(together):
                outcomes.append(_told(future.result()))
            for one in chosen:
                if one.alone:
                    outcomes.append(_told(_play(hall, one, logs)))
    return sorted(outcomes, key=lambda outcome: REGISTERED.index(outcome.scenario))


def _play(hall: Hall, scenario: Scenario, logs: Path | None) -> Outcome:
    scene = Scene(hall, scenario)
    try:
        with scene:
            try:
                scenario.run(scene)
                outcome = scene.outcome()
            except Exception as error:
                said = str(error) if isinstance(error, AssertionError) else traceback.format_exc()
                outcome = scene.outcome(said or "an assertion without words")
            if logs is not None and not outcome.held:
                logs.mkdir(parents=True, exist_ok=True)
                (logs / f"{scenario.run.__name__}.log").write_text(f"{outcome.problem}\n{scene.log_text()}")
            return outcome
    except Exception:
        return Outcome(scenario, (), f"the scene could not be set: {traceback.format_exc()}")


def _told(outcome: Outcome) -> Outcome:
    print(outcome.line(), flush=True)
    return outcome


if __name__ == "__main__":
    sys.exit(main())
