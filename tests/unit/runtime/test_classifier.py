"""Each reason on real output: what vLLM, Triton and their libraries printed, with where it was found.

`failures/<Reason>.txt` holds excerpts divided by lines `=== source`; `healthy/*.log` are whole starts that
went well and must prove nothing. "ours" are failures that we made ourselves on a CPU.
"""

import re
import time
from pathlib import Path

import pytest

from triton_runtime.classifier import Classification, classify, parse
from triton_runtime.output import TAIL_BYTES
from triton_runtime.signatures import SIGNATURES
from vllm_operator.api.conditions import Reason

HERE = Path(__file__).parent
FAILURES = sorted((HERE / "failures").glob("*.txt"))
HEALTHY = sorted((HERE / "healthy").glob("*.log"))

#: Told by the exit code, the kernel or the backend, not by a text.
WITHOUT_SIGNATURE = {"EngineHung", "ProbeKilled", "ContainerCrashed"}

NOISE_BEFORE = (HERE / "noise" / "before.log").read_text()
NOISE_AFTER = (HERE / "noise" / "after.log").read_text()


def excerpts() -> list[tuple[str, str, str]]:
    found = []
    for file in FAILURES:
        parts = re.split(r"^=== (.*)\n", file.read_text(), flags=re.MULTILINE)
        assert parts[0] == "", f"{file.name} must begin with a source"
        found += [(file.stem, source, text) for source, text in zip(parts[1::2], parts[2::2], strict=True)]
    return found


def of(text: str, exit_code: int = 1) -> Classification:
    return classify(text, exit_code, memory_kills=0)


@pytest.mark.parametrize(("reason", "source", "text"), excerpts())
def test_excerpt(reason: str, source: str, text: str) -> None:
    assert of(text).reason == reason, source


@pytest.mark.parametrize(("reason", "source", "text"), excerpts())
def test_excerpt_within_a_log(reason: str, source: str, text: str) -> None:
    """The wrapper errors that follow, and the noise before, do not hide it."""
    found = of(NOISE_BEFORE + text + NOISE_AFTER)
    assert found.reason == reason, source
    assert found.detail
    assert "See root cause above" not in found.detail
    assert "{" not in found.remedy


def test_detail_is_the_same_at_each_crash() -> None:
    text = (HERE / "failures" / "NCCLError.txt").read_text()
    assert of(text) == of(text.replace("pid=12473", "pid=999"))


def test_there_are_healthy_logs() -> None:
    assert len(HEALTHY) >= 20


def test_every_reason_with_a_signature_has_excerpts() -> None:
    assert {file.stem for file in FAILURES} == {signature.reason for signature in SIGNATURES}


def test_reasons_are_the_operators() -> None:
    """The two packages share no code; this is what keeps their words the same."""
    ours = {signature.reason for signature in SIGNATURES} | WITHOUT_SIGNATURE
    assert ours <= {str(reason) for reason in Reason}


@pytest.mark.parametrize("file", HEALTHY, ids=lambda file: file.stem)
def test_healthy_start_proves_nothing(file: Path) -> None:
    found = of(file.read_text())
    assert found.reason == "ContainerCrashed"
    assert found.detail == "tritonserver ended with exit code 1"


def test_remedies_carry_numbers() -> None:
    text = (HERE / "failures" / "KVCacheTooSmall.txt").read_text()
    assert of(text).remedy.startswith("set `spec.engineArgs.max_model_len` to 5632 or less")
    bf16 = of((HERE / "failures" / "UnsupportedGPU.txt").read_text())
    assert bf16.detail == "bfloat16 needs compute capability 8.0, the Tesla T4 has 7.5"
    assert "dtype" in bf16.remedy


def test_configuration_comes_before_what_it_breaks() -> None:
    found = of(
        "RuntimeError: CUDA error: out of memory\nTypeError: AsyncEngineArgs.__init__() got an unexpected "
        "keyword argument 'max_len'\n"
    )
    assert found.reason == "InvalidEngineArgs"
    assert "max_len" in found.detail


@pytest.mark.parametrize(
    "line",
    [
        "(EngineCore pid=7) WARNING 11-24 06:21:50 [x.py:1] CUDA out of memory. Tried to allocate 1.00 GiB.",
        "ERROR 11-24 06:21:50 [x.py:1] NCCL error in: shm, falling back to sockets",
        "Error: No space left on device, retrying in 5 s",
    ],
)
def test_recovery_is_no_cause(line: str) -> None:
    assert of(line).reason == "ContainerCrashed"


def test_killed_for_memory_comes_first() -> None:
    assert (
        classify("CUDA out of memory. Tried to allocate 1 GiB", 1, memory_kills=1).reason == "HostOutOfMemory"
    )


def test_sigkill_means_memory_only_where_the_kernel_cannot_be_asked() -> None:
    assert classify("", -9, memory_kills=None).reason == "HostOutOfMemory"
    assert classify("", -9, memory_kills=0).reason == "ContainerCrashed"


def test_bus_error_is_a_full_dev_shm() -> None:
    assert of("", -7).reason == "SharedMemoryTooSmall"


def test_dead_engine_keeps_its_root_cause() -> None:
    cause = "the engine process ended with signal 9"
    assert classify("", -15, dead_engine=cause, memory_kills=0, served=True).reason == "EngineDead"
    fault = "ERROR 11-24 06:21:50 [core.py:1] RuntimeError: CUDA error: uncorrectable ECC error encountered"
    assert classify(fault, -15, dead_engine=cause, memory_kills=0, served=True).reason == "CUDAFault"


def test_errors_of_requests_do_not_explain_a_death() -> None:
    """A serving model was configured and found; its log holds what clients got wrong."""
    log = (
        "ERROR 11-24 06:21:50 [x.py:1] ValueError: User-specified max_model_len (9) is greater than the "
        "derived max_model_len (max_position_embeddings=4"
    )
    assert of(log).reason == "MaxModelLenExceedsModel"
    assert classify(log, 1, dead_engine="x", memory_kills=0, served=True).reason == "EngineDead"


def test_dead_stub() -> None:
    assert classify("", -15, dead_stub=True, memory_kills=0, served=True).reason == "PythonStubDied"


def test_hung_workers() -> None:
    line = "INFO 11-24 06:21:50 [x.py:681] No available shared memory broadcast block found in 60 seconds.\n"
    assert classify(line * 6, 1, dead_engine="x", memory_kills=0, served=True).reason == "EngineHung"
    assert classify(line * 5, 1, dead_engine="x", memory_kills=0, served=True).reason == "EngineDead"
    assert classify(line * 9, 1, memory_kills=0).reason == "ContainerCrashed", "usual while compiling"


def test_unknown_failure_gives_the_first_real_error() -> None:
    found = of("Traceback (most recent call last):\nfoo.BarError: the cause\n" + NOISE_AFTER)
    assert found.reason == "ContainerCrashed"
    assert found.detail == "foo.BarError: the cause"
    assert found.excerpt.endswith("failed to load all models")


def test_engine_that_dies_without_a_word() -> None:
    """SIGKILL of the engine while it loads, ours: vLLM's parent only points at a cause that is not there."""
    found = of(NOISE_BEFORE + NOISE_AFTER)
    assert found.reason == "EngineDead"
    assert "during its start" in found.detail


def test_excerpt_is_the_end_without_triton_tables() -> None:
    table = "| model_repository_path[0] | /models |\n" * 40
    found = of("x" * 3000 + "\n" + "early\n" * 400 + table + "error: the last line\n" + table)
    assert found.excerpt.endswith("error: the last line")
    assert "|" not in found.excerpt
    assert len(found.excerpt) <= 1000


def test_prefixes_are_taken_off() -> None:
    (line,) = parse("(EngineCore_DP0 pid=12) ERROR 11-24 06:21:50 [core.py:12] ValueError: x")
    assert line.text == "ValueError: x"
    first, second, *_ = parse(
        'I1216 02:12:49.6 179 pb_stub.cc:388] "Failed to initialize Python stub: E\\n\\nAt:\\n  f"'
    )
    assert not first.quiet
    assert second.text == "At:"


@pytest.mark.parametrize("piece", ["x", "x ", "Error: ", "a.b", "(1/2 GiB)", "\\n", "\n"])
def test_no_output_takes_long(piece: str) -> None:
    started = time.monotonic()
    of(piece * (TAIL_BYTES // len(piece)))
    assert time.monotonic() - started < 10
