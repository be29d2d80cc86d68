"""What a request's error says is no cause: it was answered, and the words may be a client's."""

import time

import pytest

from triton_runtime.classifier import Classification, classify

WORDS = [
    "NVLS is not usable: Xid 79",
    "NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus",
    "CUDA error: an illegal memory access was encountered",
    "NCCL error in: ncclSystemError",
    "CUDA out of memory. Tried to allocate 2 GiB",
    "No space left on device: /dev/shm/x",
]
FOLDED = (
    'E1124 06:20:58.312345 11 pb_stub.cc:900] "[vllm] request r-2 {how}: Traceback (most recent call last):'
    '\\n  File \\"/x/service.py\\", line 3, in f\\n    g()\\njinja2.exceptions.TemplateError: {words}\\n"\n'
)
FRONT_END = (
    "(EngineCore pid=84) INFO 11-24 06:21:40 [core.py:9] init engine took 3 s\n"
    "ERROR 11-24 06:21:50 [async_llm.py:12] Traceback (most recent call last):\n"
    'ERROR 11-24 06:21:50 [async_llm.py:12]   File "/x/a.py", line 3, in f\n'
    "ERROR 11-24 06:21:50 [async_llm.py:12] jinja2.exceptions.TemplateError: {words}\n"
)


def killed(text: str) -> Classification:
    return classify(
        text, -9, dead_engine="engine process ended with exit code -9", served=True, memory_kills=0
    )


@pytest.mark.parametrize("how", ["failed", "could not be decoded", "a response could not be sent"])
@pytest.mark.parametrize("words", WORDS)
def test_what_the_backend_logs_of_a_request(words: str, how: str) -> None:
    found = killed(FOLDED.format(words=words, how=how))
    assert (found.reason, found.detail) == ("EngineDead", "engine process ended with exit code -9")


@pytest.mark.parametrize("words", WORDS)
def test_what_vllm_logs_in_the_backends_process(words: str) -> None:
    assert killed(FRONT_END.format(words=words)).reason == "EngineDead"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("(EngineCore pid=84) ERROR 11-24 06:21:50 [core.py:9] {words}", "CUDAFault"),
        ("(Worker_TP0 pid=90) ERROR 11-24 06:21:50 [gpu_worker.py:9] {words}", "CUDAFault"),
        ("{words}", "CUDAFault"),
    ],
)
def test_what_engine_and_workers_say_counts(line: str, reason: str) -> None:
    noise = FOLDED.format(words="NVLS is not usable", how="failed")
    assert killed(noise + line.format(words=WORDS[2]) + "\n").reason == reason


@pytest.mark.parametrize("words", ["Xid", "the Xid of my GPU", "what does xid mean"])
def test_the_word_alone_is_no_fault_of_the_hardware(words: str) -> None:
    assert killed(f"(EngineCore pid=84) ERROR 11-24 06:21:50 [core.py:9] {words}\n").reason == "EngineDead"


def test_an_error_below_faulthandlers_frames_counts() -> None:
    """Frames without their code: the next line is no code of theirs."""
    text = (
        "Fatal Python error: Segmentation fault\n\nCurrent thread 0x1 (most recent call first):\n"
        '  File "/x/a.py", line 3 in f\n'
        "CUDA error: no kernel image is available for execution on the device\n"
    )
    assert classify(text, 1, memory_kills=0).reason == "UnsupportedGPU"


def test_a_worker_that_never_answers_hangs_in_the_warm_up_as_well() -> None:
    core = "(EngineCore_DP0 pid=84) ERROR 11-24 06:21:50 [core.py:1341] "
    lines = [
        "EngineCore failed to start.",
        "Traceback (most recent call last):",
        '  File "/x/vllm/v1/executor/multiproc_executor.py", line 3, in get_response',
        "TimeoutError: RPC call to sample_tokens timed out.",
    ]
    text = "".join(f"{core}{line}\n" for line in lines)
    assert classify(text, 1, memory_kills=0).reason == "EngineHung"


@pytest.mark.parametrize("dump", ["scheduler output for model execution: x", "input data for V1 LLM: y"])
def test_the_last_lines_leave_the_requests_of_the_failed_step_out(dump: str) -> None:
    core = "(EngineCore pid=84) ERROR 11-24 06:21:50 [dump_input.py:72] "
    text = f"first\n{core}Dumping {dump}{'z' * 3000}\nlast\n"
    assert killed(text).excerpt == "first\nlast"


def test_a_text_that_repeats_a_rows_words_is_no_work() -> None:
    core = "(EngineCore_DP0 pid=84) ERROR 11-24 06:21:50 [core.py:1341] "
    for words in ("requires N ", "requires K must ", "shapes cannot ", "heads must be ", "No valid "):
        text = f"{core}EngineCore failed to start.\n{core}Traceback (most recent call last):\n"
        text += f"{core}ValueError: {words * 2000}\n"
        started = time.monotonic()
        classify(text, 1, memory_kills=0)
        assert time.monotonic() - started < 2, words
