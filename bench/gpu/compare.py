"""Engine alone, vLLM's OpenAI server and our backend on one GPU, all loaded, measured in turn.

    compare.py start     start the three, one after the other, and wait until each answers
    compare.py restart   start ours anew, with another number of instances
    compare.py rounds    interleaved rounds at 64 and 256 in flight; JSON lines to RUN/results.jsonl
    compare.py report    medians, and spreads of the ratios to the engine alone
    compare.py stop      end what start started

All three hold the same model with the same engine arguments, each in its share of the GPU's memory, so
that a round of one follows a round of the other on the same warm card; only one is under load at a time.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
OPENAI_PORT, HTTP_PORT, GRPC_PORT, METRICS_PORT = 8010, 18000, 18001, 18002
LEVELS = ((64, 256), (256, 1024))
MODEL = "vllm_model"


def _start(name: str, command: list[str], run: Path, environment: dict[str, str], **options: Any) -> None:
    with (run / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=environment, **options
        )
    (run / f"{name}.pid").write_text(str(process.pid))


def _wait(what: str, ready: Any, run: Path, seconds: int = 420) -> None:
    began = time.monotonic()
    while not ready():
        if time.monotonic() - began > seconds:
            tail = (run / f"{what}.log").read_bytes()[-3000:].decode(errors="replace")
            sys.exit(f"{what} did not answer within {seconds} s; its log ends:\n{tail}")
        time.sleep(1)
    print(f"{what} ready, waited {time.monotonic() - began:.0f} s more", flush=True)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _repository(run: Path, arguments: dict[str, Any], instances: int, senders: int | None) -> Path:
    version = run / "repository" / MODEL / "1"
    shutil.rmtree(run / "repository", ignore_errors=True)
    version.mkdir(parents=True)
    (version / "model.json").write_text(json.dumps({**arguments, "disable_log_stats": True}))
    config = f'backend: "vllm"\ninstance_group [{{ count: {instances} kind: KIND_MODEL }}]\n'
    if senders is not None:
        config += f'parameters {{ key: "SENDER_THREADS" value: {{ string_value: "{senders}" }} }}\n'
    (version.parent / "config.pbtxt").write_text(config)
    return run / "repository"


def start(kit: Path, backend: Path, run: Path, memory: float, instances: int, senders: int | None) -> None:
    """Start the three systems and wait until each has answered."""
    run.mkdir(parents=True, exist_ok=True)
    environment = dict(os.environ)
    arguments = {**json.loads((kit / "model.json").read_text()), "gpu_memory_utilization": memory}
    (run / "model.json").write_text(json.dumps(arguments))
    commands = run / "commands"
    if not commands.exists():
        os.mkfifo(commands)
    # Opened for reading and writing so that neither side ever sees an end of file.
    fifo = os.open(commands, os.O_RDWR)
    _start(
        "engine",
        ["python", str(HERE / "engine_alone.py"), str(run / "model.json")],
        run,
        environment,
        stdin=fifo,
    )
    _wait("engine", lambda: "ready" in (run / "engine.log").read_text().split("\n"), run)
    flags = [
        item
        for name, value in arguments.items()
        if name != "model"
        for item in (f"--{name.replace('_', '-')}", str(value))
    ]
    _start(
        "openai",
        [
            "python",
            "-P",
            "-m",
            "vllm.entrypoints.openai.api_server",
            "--model",
            arguments["model"],
            "--served-model-name",
            MODEL,
            "--port",
            str(OPENAI_PORT),
            "--disable-log-stats",
            *flags,
        ],
        run,
        environment,
    )
    _wait("openai", lambda: _answers(f"http://127.0.0.1:{OPENAI_PORT}/health"), run)
    start_ours(backend, run, instances, senders)


def start_ours(backend: Path, run: Path, instances: int, senders: int | None) -> None:
    """Start tritonserver with the backend, ending the one before."""
    environment = dict(os.environ)
    backends = Path(environment["BACKENDS"])
    _end(run / "triton.pid")
    shutil.rmtree(backends / "vllm", ignore_errors=True)
    shutil.copytree(backend, backends / "vllm")
    arguments = json.loads((run / "model.json").read_text())
    (run / "ours.json").write_text(json.dumps({"instances": instances, "senders": senders}))
    _start(
        "triton",
        [
            environment["TRITONSERVER"],
            f"--model-repository={_repository(run, arguments, instances, senders)}",
            f"--backend-directory={backends}",
            f"--grpc-port={GRPC_PORT}",
            f"--http-port={HTTP_PORT}",
            f"--metrics-port={METRICS_PORT}",
        ],
        run,
        environment,
    )
    _wait("triton", lambda: _answers(f"http://127.0.0.1:{HTTP_PORT}/v2/health/ready"), run)


def _engine_round(run: Path, in_flight: int, requests: int, kind: str) -> dict[str, Any]:
    log = run / "engine.log"
    seen = log.stat().st_size
    with (run / "commands").open("w") as commands:
        commands.write(f"{in_flight} {requests} {kind}\n")
    for _ in range(1200):
        lines = [
            line for line in log.read_bytes()[seen:].decode().splitlines() if line.startswith('{"in_flight"')
        ]
        if lines:
            return dict(json.loads(lines[-1]))
        time.sleep(0.25)
    sys.exit(f"engine alone did not finish {in_flight} in flight within 300 s")


def _server_round(kit: Path, protocol: str, port: int, in_flight: int, requests: int) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": str(kit / "client")}
    base = os.environ.get("BASE_PYTHON", "python3")
    command = [
        base,
        "-P",
        str(HERE / "load.py"),
        protocol,
        str(in_flight),
        str(requests),
        "--port",
        str(port),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"load generator failed on {protocol}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def rounds(kit: Path, run: Path, count: int, only: str | None) -> None:
    """Interleaved rounds; each result is printed and appended to results.jsonl."""
    with (run / "results.jsonl").open("a") as results:
        for number in range(count):
            for in_flight, requests in LEVELS:
                systems = {
                    "engine": lambda n=in_flight, r=requests: _engine_round(run, n, r, "DELTA"),
                    "openai": lambda n=in_flight, r=requests: _server_round(kit, "openai", OPENAI_PORT, n, r),
                    "ours": lambda n=in_flight, r=requests: _server_round(kit, "grpc", GRPC_PORT, n, r),
                }
                for name, measure in systems.items():
                    if only and name not in only.split(","):
                        continue
                    how = json.loads((run / "ours.json").read_text()) if name == "ours" else {}
                    line = json.dumps({"round": number, "system": name, **how, **measure()})
                    print(line, flush=True)
                    results.write(line + "\n")
                    results.flush()


def report(run: Path) -> None:
    """Medians per system, and each line's ratio to the line of the engine alone before it."""
    lines = [json.loads(line) for line in (run / "results.jsonl").read_text().splitlines()]
    measured: dict[tuple[int, str], list[dict[str, Any]]] = {}
    engine: dict[int, float] = {}
    for line in lines:
        in_flight = line["in_flight"]
        if line["system"] == "engine":
            engine[in_flight] = line["tokens_per_second"]
        name = line["system"]
        if name == "ours":
            senders = f", {line['senders']} senders" if line["senders"] else ""
            name = f"ours ({line['instances']} front ends{senders})"
        line["ratio"] = line["tokens_per_second"] / engine.get(in_flight, float("nan"))
        measured.setdefault((in_flight, name), []).append(line)
    for (in_flight, name), mine in sorted(measured.items()):
        ratios = [line["ratio"] for line in mine]
        median = {
            k: statistics.median(line[k] for line in mine)
            for k in (
                "tokens_per_second",
                "messages_per_request",
                "ttft_ms_p99",
                "gap_ms_p99",
                "time_per_token_ms_p99",
            )
        }
        print(
            f"{in_flight:4d} in flight {name:21s} tok/s {median['tokens_per_second']:8.0f}"
            f"  of engine {statistics.median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})"
            f"  messages/request {median['messages_per_request']:.0f}"
            f"  ttft p99 {median['ttft_ms_p99']:.0f} ms  gap p99 {median['gap_ms_p99']:.1f} ms"
            f"  time/token p99 {median['time_per_token_ms_p99']:.2f} ms"
        )


def stop(run: Path) -> None:
    """End every process group that start began."""
    for pid in run.glob("*.pid"):
        _end(pid)


def _end(pid_file: Path) -> None:
    if not pid_file.exists():
        return
    group = int(pid_file.read_text())
    pid_file.unlink()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
    for _ in range(600):
        # A zombie has given back what it held.
        try:
            if Path(f"/proc/{group}/stat").read_text().rpartition(") ")[2].startswith("Z"):
                return
        except OSError:
            return
        time.sleep(0.1)
    sys.exit(f"process {group} did not end within 60 s of SIGTERM")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("command", choices=("start", "restart", "rounds", "report", "stop"))
    parser.add_argument("--kit", type=Path, default=Path("/tmp/kit"))
    parser.add_argument("--backend", type=Path, default=HERE.parents[1] / "backend")
    parser.add_argument("--run", type=Path, default=Path("/tmp/run"))
    parser.add_argument(
        "--memory", type=float, default=0.30, help="share of the GPU's memory for each system"
    )
    parser.add_argument("--instances", type=int, default=2, help="of ours, sharing its engine")
    parser.add_argument("--senders", type=int, help="sender threads of each instance of ours")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="comma list of engine, openai, ours")
    options = parser.parse_args()
    if options.command == "start":
        start(options.kit, options.backend, options.run, options.memory, options.instances, options.senders)
    elif options.command == "restart":
        start_ours(options.backend, options.run, options.instances, options.senders)
    elif options.command == "rounds":
        rounds(options.kit, options.run, options.rounds, options.only)
    elif options.command == "report":
        report(options.run)
    else:
        stop(options.run)


if __name__ == "__main__":
    main()
