"""What is believed: the exception that ended a process, with its chain; what is known where there is none."""

import pytest

from triton_runtime.classifier import Classification, classify
from unit.runtime.corpus import AFTER, EXCERPTS

WORKER = "(Worker_TP{n} pid=12{n}) ERROR 11-24 06:21:38 [multiproc_executor.py:990] "
CORE = "(EngineCore_DP0 pid=84) ERROR 11-24 06:21:40 [core.py:1341] "
MAIN = "(MainProcess pid=28) "
START = "Traceback (most recent call last):"
CAUSE = "The above exception was the direct cause of the following exception:"
HANDLING = "During handling of the above exception, another exception occurred:"
OUT_OF_MEMORY = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 MiB."
KNOWN, UNKNOWN = "RuntimeError: No CUDA GPUs are available", "foo.BarError: never seen"


def of(text: str, exit_code: int = 1, *, served: bool = False, dead: str | None = None) -> Classification:
    return classify(text, exit_code, memory_kills=0, served=served, dead_engine=dead)


def put(prefix: str, *lines: str) -> str:
    return "".join(f"{prefix}{line}\n" for line in lines)


def frame(where: str) -> tuple[str, str]:
    path, _, function = where.partition(":")
    return f'  File "/usr/lib/python3/dist-packages/{path}", line 5, in {function}', "    call()"


def worker(exception: str, n: int = 0, *frames: str) -> str:
    inside = [line for where in frames for line in frame(where)]
    return put(WORKER.format(n=n), "WorkerProc failed to start.", START, *inside, exception)


def core(*lines: str) -> str:
    return put(CORE, "EngineCore failed to start.", START, *lines)


def stub(exception: str, where: str = "/x/vllm/config/model.py(5): verify") -> str:
    told = f"Failed to initialize Python stub: {exception}\\n\\nAt:\\n  {where}\\n"
    return f'I1124 06:21:59.1 11 pb_stub.cc:420] "{told}"\n'


def test_workers_come_before_the_core_and_the_core_before_the_stub() -> None:
    log = stub("ValueError: Unknown quantization method: x") + core(KNOWN) + worker(OUT_OF_MEMORY)
    assert of(log).reason == "GPUOutOfMemory"
    assert of(stub("ValueError: Unknown quantization method: x") + core(KNOWN)).reason == "NoGPUVisible"


def test_first_worker_that_is_not_about_nccl() -> None:
    nccl = worker("torch.distributed.DistBackendError: NCCL error in: x, remote process exited", 1)
    assert of(nccl + worker(OUT_OF_MEMORY, 0)).reason == "GPUOutOfMemory"
    assert of(nccl + AFTER).reason == "NCCLError"


def test_unknown_fatal_exception_is_shown_and_not_typed_by_another_line() -> None:
    found = of(put(MAIN, "OSError: [Errno 28] No space left on device: '/cache/x'") + worker(UNKNOWN) + AFTER)
    assert (found.reason, found.detail) == ("ContainerCrashed", UNKNOWN)


def test_unknown_exception_of_an_engine_that_served_is_its_death() -> None:
    died = put(
        CORE, "EngineCore encountered a fatal error.", START, *frame("vllm/config/x.py:f"), "ValueError: y"
    )
    found = of(died, served=True, dead="EngineDeadError: x")
    assert (found.reason, found.detail, found.inferred) == ("EngineDead", "y", False)


def test_innermost_of_a_chain_that_is_known() -> None:
    chain = (
        "OSError: [Errno 28] No space left on device: '/cache/x'",
        CAUSE,
        START,
        *frame("a.py:f"),
        UNKNOWN,
    )
    assert of(core(*chain, CAUSE, START, KNOWN)).reason == "DiskFull"


def test_what_was_being_handled_counts_last() -> None:
    handled = ("OSError: [Errno 28] No space left on device: '/cache/x'", HANDLING, START, KNOWN)
    assert of(core(*handled)).reason == "NoGPUVisible"
    assert of(core(*handled[:-1], UNKNOWN)).reason == "DiskFull"


def test_triton_repeats_what_came_out_of_a_chain_that_stands_above() -> None:
    out = "ValueError: Invalid repository ID or local directory specified: 'acme/x'."
    traceback = (
        START,
        "urllib3.exceptions.NameResolutionError: Failed to resolve 'huggingface.co'",
        CAUSE,
        START,
    )
    assert of(put(MAIN, *traceback, out) + stub(out)).reason == "NetworkUnavailable"


@pytest.mark.parametrize(
    ("exception", "where", "reason"),
    [
        (
            "PermissionError: [Errno 13] Permission denied: '/source/config.json'",
            "a.py:f",
            "ModelFilesUnreadable",
        ),
        (
            "PermissionError: [Errno 13] Permission denied: '/mnt/llama/config.json'",
            "a.py:f",
            "ModelFilesUnreadable",
        ),
        ("PermissionError: [Errno 13] Permission denied: '/cache/triton'", "a.py:f", "CacheNotWritable"),
        (
            "PermissionError: [Errno 13] Permission denied: '/source/hub/.locks/models--a'",
            "a.py:f",
            "CacheNotWritable",
        ),
        ("_pickle.UnpicklingError: invalid load key, 'v'.", "torch/serialization.py:load", "WeightsCorrupt"),
        ("_pickle.UnpicklingError: invalid load key, 'v'.", "foo/bar.py:load", "ContainerCrashed"),
        (
            "OSError: [Errno 28] No space left on device",
            "multiprocessing/shared_memory.py:f",
            "SharedMemoryTooSmall",
        ),
        ("OSError: [Errno 28] No space left on device", "foo.py:f", "DiskFull"),
        ("AssertionError", "vllm/model_executor/parameter.py:load_qkv_weight", "WeightsMismatch"),
        ("AssertionError", "foo.py:f", "ContainerCrashed"),
        (
            "AttributeError: x",
            "transformers/configuration_utils.py:__getattribute__",
            "BackendVersionMismatch",
        ),
    ],
)
def test_a_word_needs_its_place(exception: str, where: str, reason: str) -> None:
    assert of(core(*frame(where), exception) + AFTER).reason == reason


@pytest.mark.parametrize(
    ("where", "remedy"),
    [
        (
            "vllm/v1/worker/gpu_model_runner.py:capture_model",
            "lower `spec.engineArgs.gpu_memory_utilization`",
        ),
        ("vllm/v1/worker/gpu_model_runner.py:load_model", "raise `tensor_parallel_size`"),
        ("vllm/v1/worker/gpu_model_runner.py:profile_run", "max_num_batched_tokens"),
        ("vllm/v1/worker/gpu_model_runner.py:execute_model", "max_num_seqs"),
    ],
)
def test_memory_that_runs_out_is_cured_where_it_ran_out(where: str, remedy: str) -> None:
    assert remedy in of(worker(OUT_OF_MEMORY, 0, where) + AFTER).remedy


def test_exception_of_any_name_and_of_many_lines() -> None:
    resources = "triton.runtime.errors.OutOfResources: out of resource: shared memory, Required: 81920"
    assert of(core(*frame("triton/compiler.py:f"), resources)).reason == "UnsupportedGPU"
    ninja = (
        "RuntimeError: Ninja build failed. Ninja output:",
        "[1/4] c++ x.cpp",
        "/bin/sh: 1: nvcc: not found",
    )
    assert of(core(*frame("foo.py:f"), *ninja)).reason == "KernelBuildFailed"


# Refusals


def test_refusal_is_known_by_its_place() -> None:
    found = of(stub("ValueError: the moon is in the wrong phase"))
    assert (found.reason, found.detail) == ("InvalidEngineArgs", "the moon is in the wrong phase")
    assert found.inferred
    assert of(stub("ValueError: the moon", "/x/vllm/foo.py(5): f")).reason == "ContainerCrashed"
    config = "1 validation error for CacheConfig\\n  Value error, the moon [type=value_error, input_value=x]"
    found = of(stub(f"pydantic_core.ValidationError: {config}", "/x/foo.py(5): f"))
    assert (found.reason, found.detail) == ("InvalidEngineArgs", "the moon")


@pytest.mark.parametrize(
    "inner", ["OSError: x", "httpx.ReadTimeout: x", "torch.AcceleratorError: CUDA error: x"]
)
def test_what_another_error_caused_is_no_refusal(inner: str) -> None:
    out = "ValueError: the moon"
    chain = put(MAIN, START, inner, CAUSE, START, *frame("vllm/config/model.py:verify"), out)
    assert of(chain + stub(out)).reason != "InvalidEngineArgs"


# Served


def test_call_that_failed_did_not_end_the_engine() -> None:
    """An adapter that could not be loaded is answered; the engine died of something else."""
    answered = worker("ValueError: LoRA rank 64 is greater than max_lora_rank 16.") + put(
        CORE,
        "Invocation of add_lora method failed",
        START,
        "RuntimeError: Worker failed with error 'LoRA rank'",
    )
    died = put(
        CORE, "EngineCore encountered a fatal error.", START, *frame("a.py:execute_model"), OUT_OF_MEMORY
    )
    assert of(answered + died, served=True, dead="x").reason == "GPUOutOfMemory"
    assert of(answered, served=True, dead="x").reason == "EngineDead"


def test_engine_that_answers_no_call_hangs() -> None:
    log = put(
        CORE,
        "EngineCore encountered a fatal error.",
        START,
        "TimeoutError: RPC call to execute_model timed out.",
    )
    assert of(log, served=True, dead="EngineDeadError: x").reason == "EngineHung"


# No cause


def test_killed_without_a_log() -> None:
    assert of("", -9).detail == "tritonserver ended with signal 9, kill"
    assert classify("", -9, memory_kills=None).reason == "HostOutOfMemory"


@pytest.mark.parametrize(
    "crash", ["Fatal Python error: Segmentation fault", "!!!!!!! Segfault encountered !!!!!!!"]
)
def test_python_that_crashes(crash: str) -> None:
    found = of(put("(EngineCore_DP0 pid=84) ", crash) + AFTER.replace("{}", "{'EngineCore_DP0': -11}"))
    assert found.reason == "EngineDead"
    assert crash in found.detail
    assert "signal 11, segmentation fault" in found.detail
    assert of(crash, -11).reason == "ContainerCrashed"


def test_worker_that_is_killed() -> None:
    died = "Worker proc VllmWorker-0 died unexpectedly (exit code: -9), shutting down executor."
    found = of(put("(EngineCore pid=84) ERROR 11-24 06:21:50 [multiproc_executor.py:381] ", died) + AFTER)
    assert found.reason == "EngineDead"
    assert "signal 9, kill" in found.detail


def test_output_that_begins_inside_a_traceback() -> None:
    """Whose traceback it was is known where its lines say so, and else it is shown, not judged."""
    rest = (*frame("vllm/foo.py:f"), KNOWN)
    assert of(put(CORE, *rest) + AFTER).reason == "NoGPUVisible"
    found = of(put(MAIN, *rest) + 'E1124 06:21:59.1 11 model_lifecycle.cc:654] "failed to load"\n')
    assert found.reason == "ContainerCrashed"
    assert "what was printed before is not kept" in found.detail


def test_long_output_without_a_start_is_not_judged_by_errors_of_requests() -> None:
    request = (
        "ERROR 11-24 06:21:50 [serving.py:12] ValueError: Unsupported task: 'embed' Supported tasks: ['x']\n"
    )
    assert of(request * 3000).reason == "ContainerCrashed"
    assert of(
        f"(EngineCore pid=8) INFO 11-24 06:21:12 [core.py:1] Initializing a V1 LLM engine\n{request}"
    ).reason == ("TaskUnsupported")


def test_log_that_is_cut_anywhere_gets_no_wrong_reason() -> None:
    """Its own reason, that nothing is known, or what only pointed at the cause that is cut away."""
    honest = {"ContainerCrashed", "EngineDead", "NCCLError"}
    wrong = []
    for excerpt in (e for e in EXCERPTS if "Traceback (most recent" in e.text):
        lines = (excerpt.text + AFTER).splitlines(keepends=True)
        for start in range(1, len(lines), 2):
            reason = excerpt.classified("".join(lines[start:])).reason
            if reason not in honest | {excerpt.reason}:
                wrong.append((excerpt.reason, reason))
    # The one frame that tells /dev/shm from a disk is cut away.
    assert set(wrong) <= {("SharedMemoryTooSmall", "DiskFull")}
