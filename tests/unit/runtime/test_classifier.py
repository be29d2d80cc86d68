"""Each reason on real output: what vLLM, Triton and their libraries printed, with where it was found.

`failures/<Reason>.txt` holds excerpts and `whole/` whole logs (corpus.py says in which form);
`healthy/*.log` are whole starts that went well and must prove nothing. "ours" are failures that we made
ourselves, on a CPU where no GPU is named.
"""

import re
import time
from pathlib import Path

import pytest

from triton_runtime.classifier import Classification, classify
from triton_runtime.loglines import parse
from triton_runtime.output import TAIL_BYTES
from triton_runtime.signatures import SIGNATURES, Signature
from unit.runtime.corpus import AFTER, BEFORE, EXCERPTS, FAILURES, HEALTHY, WHOLE, Excerpt
from vllm_operator.api.conditions import Reason

#: Told by the exit code, the kernel or the backend, not by a text.
WITHOUT_SIGNATURE = {"EngineHung", "ProbeKilled"}


def of(text: str, exit_code: int = 1) -> Classification:
    return classify(text, exit_code, memory_kills=0)


@pytest.mark.parametrize("excerpt", EXCERPTS, ids=str)
def test_excerpt(excerpt: Excerpt) -> None:
    assert excerpt.classified(excerpt.text).reason == excerpt.reason


@pytest.mark.parametrize("excerpt", EXCERPTS, ids=str)
def test_excerpt_within_a_log(excerpt: Excerpt) -> None:
    """The wrapper errors that follow, and the noise before, do not hide it."""
    found = excerpt.classified(BEFORE + excerpt.text + AFTER)
    assert found.reason == excerpt.reason
    assert found.detail
    assert "See root cause above" not in found.detail
    assert "{" not in found.remedy


@pytest.mark.parametrize("excerpt", [e for e in EXCERPTS if e.says], ids=str)
def test_message_says_what_cures(excerpt: Excerpt) -> None:
    """The words stand in what a user reads: in `Ready`'s message, made from the termination message."""
    text = excerpt.ready_message(BEFORE + excerpt.text + AFTER).lower()
    assert [words for words in excerpt.says if words.lower() not in text] == []


@pytest.mark.parametrize("log", WHOLE.values(), ids=list(WHOLE))
def test_whole_log(log: Excerpt) -> None:
    """Nothing that a real start or a real end prints besides hides the cause, or the words that cure it."""
    assert log.classified(log.text).reason == log.reason
    text = log.ready_message(log.text).lower()
    assert [words for words in log.says if words.lower() not in text] == []


def test_detail_is_the_same_at_each_crash() -> None:
    text = (FAILURES / "NCCLError.txt").read_text()
    assert of(text) == of(text.replace("pid=12473", "pid=999"))


def test_there_are_healthy_logs() -> None:
    assert len(HEALTHY) >= 20


def test_every_reason_with_a_signature_has_excerpts() -> None:
    assert {excerpt.reason for excerpt in EXCERPTS} == {signature.reason for signature in SIGNATURES}


def test_reasons_are_the_operators() -> None:
    """The two packages share no code; this is what keeps their words the same."""
    ours = {signature.reason for signature in SIGNATURES} | WITHOUT_SIGNATURE
    assert ours <= {str(reason) for reason in Reason}


@pytest.mark.parametrize("file", HEALTHY, ids=lambda file: file.stem)
def test_healthy_start_proves_nothing(file: Path) -> None:
    found = of(file.read_text())
    assert found.reason == "ContainerCrashed"
    assert found.detail == "tritonserver ended with exit code 1"


@pytest.mark.parametrize(
    ("text", "figures"),
    [
        (
            "ValueError: To serve at least one request with the model's max seq len (9000), (4.00 GiB KV "
            "cache is needed, which is larger than the available KV cache memory (2.50 GiB). Based on the "
            "available memory, the estimated maximum model length is 5632.",
            "`spec.engineArgs.max_model_len` to 5632 or less",
        ),
        (
            "ValueError: Total number of attention heads (28) must be divisible by tensor parallel size (8).",
            "a divisor of 28: 1, 2, 4, 7, 14, 28",
        ),
        (
            "ValueError: Free memory on device cuda:0 (138.71/139.8 GiB) on startup is less than desired GPU "
            "memory utilization (1.0, 139.8 GiB).",
            "`spec.engineArgs.gpu_memory_utilization` to 0.99 or less",
        ),
        (
            "ValueError: LoRA rank 24 is greater than max_lora_rank 16.",
            "`spec.engineArgs.max_lora_rank` to 32 or",
        ),
        (
            "ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0. Your "
            "Tesla T4 GPU has compute capability 7.5.",
            "`spec.engineArgs.dtype` to half",
        ),
    ],
)
def test_remedies_carry_figures(text: str, figures: str) -> None:
    assert figures in of(text).remedy


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


def test_sigkill_of_a_dead_engines_server_is_the_entry_points_own() -> None:
    assert classify("", -9, dead_engine="x", memory_kills=None, served=True).reason == "EngineDead"
    assert classify("", -9, dead_stub=True, memory_kills=None, served=True).reason == "PythonStubDied"


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
    found = of("Traceback (most recent call last):\nfoo.BarError: the cause\n" + AFTER)
    assert found.reason == "ContainerCrashed"
    assert found.detail == "foo.BarError: the cause"
    assert found.excerpt.endswith("failed to load all models")


def test_engine_that_dies_without_a_word() -> None:
    """SIGKILL of the engine while it loads, ours: vLLM's parent only points at a cause that is not there."""
    found = of(BEFORE + AFTER)
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
    assert first.repeated
    assert not first.quiet
    assert second.text == "At:"


@pytest.mark.parametrize("piece", ["x", "x ", "Error: ", "a.b", "(1/2 GiB)", "\\n", "\n"])
def test_no_output_takes_long(piece: str) -> None:
    started = time.monotonic()
    of(piece * (TAIL_BYTES // len(piece)))
    assert time.monotonic() - started < 10


def repeated(pattern: str) -> list[str]:
    """Texts that repeat each word of a pattern, which is where a careless pattern takes for ever."""
    words = re.split(r"\.\*\??|\{0,\d+\}|\|", pattern)
    plain = [re.sub(r"\(\?P<\w+>|\(\?[:=!<]+|\\[A-Za-z]\+?|[()\[\]^$+*?\\]", "", word)[:60] for word in words]
    return [f"ValueError: {word * (2000 // len(word))}" for word in plain if len(word) > 1]


@pytest.mark.parametrize("row", SIGNATURES, ids=lambda row: row.reason)
def test_no_row_takes_long(row: Signature) -> None:
    started = time.process_time()
    for text in repeated(row.pattern.pattern):
        row.pattern.search(text)
    assert time.process_time() - started < 0.5
