"""Engine arguments that people really got wrong, from issue threads: caught before a pod exists, or why not.

The arguments are those of the thread, less what plays no part; where it names no numbers, the smallest
that show the mistake.
"""
# ruff: noqa: E501

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Mistake:
    """One set of arguments from a thread; `caught` is part of our sentence, `missed` says why there is none."""

    source: str
    arguments: dict[str, Any]
    caught: str = ""
    missed: str = ""
    gpus: int | None = None
    permitted: frozenset[str] = field(default_factory=frozenset)


def caught(source: str, sentence: str, *, gpus: int | None = None, **arguments: Any) -> Mistake:
    return Mistake(source, arguments, caught=sentence, gpus=gpus)


def missed(source: str, why: str, **arguments: Any) -> Mistake:
    return Mistake(source, arguments, missed=why, permitted=frozenset({"speculative_config"}))


MODEL = "the model's config.json decides"
DRAFT = "the draft model's config.json decides"
ADAPTER = "the adapter's own config decides"
GPU = "the GPU decides"
MEMORY = "the GPU's free memory decides"

MISTAKES = (
    caught("vllm-project/vllm#23283", "disable_log_requests: is not an argument", disable_log_requests=True),
    caught("hiyouga/LlamaFactory#9503", "unless `enable_log_requests` is true", disable_log_requests=True),
    caught("triton-inference-server/server#8235", "swap_space: was removed in vLLM 0.18", disable_log_requests="true",
           gpu_memory_utilization=0.9, enforce_eager="true", tensor_parallel_size=4, swap_space=4,
           disable_custom_all_reduce=True, max_model_len=4096),
    caught("unslothai/unsloth-zoo#1210", "swap_space: was removed in vLLM 0.18", swap_space=6),
    caught("verl-project/verl#960", "swap_space: was removed in vLLM 0.18", swap_space=32),
    caught("xorbitsai/inference#2900", "use `structured_outputs_config: {backend: ...}`", tokenizer_mode="auto",
           tensor_parallel_size=4, block_size=16, gpu_memory_utilization=0.9, max_num_seqs=256, quantization=None,
           max_model_len=None, guided_decoding_backend="outlines"),
    caught("vllm-project/vllm#16339", "guided_decoding_backend: is not an argument", quantization="fp8",
           dtype="auto", max_model_len=4096, guided_decoding_backend="guidance"),
    caught("vllm-project/vllm#9398", "num_scheduler_steps: is not an argument", gpu_memory_utilization=0.3,
           dtype="bfloat16", enforce_eager=True, num_scheduler_steps=8),
    caught("vllm-project/vllm#18301", "the image and `spec.gpus` decide", device="cpu"),
    caught("vllm-project/vllm#3249", "ray_workers_use_nsight: cannot be set", ray_workers_use_nsight=True),
    caught("vllm-project/vllm#15802", "task: is not an argument", task="generate", max_model_len=32767,
           gpu_memory_utilization=0.9, max_num_seqs=8, enable_chunked_prefill=False, max_log_len=0),
    caught("vllm-project/vllm#20059", "max_seq_len_to_capture: is not an argument", max_model_len=131072,
           max_seq_len_to_capture=131072, max_num_batched_tokens=10240, max_num_seqs=8),
    caught("deepjavalibrary/djl-serving#2415", "use_v2_block_manager: is not an argument", use_v2_block_manager=True),
    caught("vllm-project/vllm#10483", "use `speculative_config: {model: ...}`", tensor_parallel_size=4,
           speculative_model="/models/Qwen2.5-14B-Instruct-AWQ", num_speculative_tokens=3,
           speculative_draft_tensor_parallel_size=4),
    caught("modelscope/ms-swift#6290", "mm_processor_cache_gb: must be a number, not null", mm_processor_cache_gb=None),
    caught("VectorInstitute/vector-inference#157", "compilation_config: must be a mapping, not 3", compilation_config=3),
    caught("verl-project/verl#3848", "compilation_config.level: was removed in vLLM 0.18; use `mode`", compilation_config={"level": 3}),
    caught("vllm-project/vllm#18520", "compilation_config.full_cuda_graph: is not a key",
           compilation_config={"full_cuda_graph": True}),
    caught("pytorch/pytorch#175435", "says the same as `compilation_config.cudagraph_capture_sizes`",
           cudagraph_capture_sizes=[1, 2], compilation_config={"cudagraph_capture_sizes": [1, 2]}),
    caught("vllm-project/vllm#39687", "limit_mm_per_prompt: must be a mapping, not 'image=4,audio=1'",
           limit_mm_per_prompt="image=4,audio=1"),
    caught("flagos-ai/FlagScale#1075", "limit_mm_per_prompt: must be a mapping", limit_mm_per_prompt="image=8"),
    caught("zai-org/GLM-V#15", "'allowed_local_media_path' added", limit_mm_per_prompt={"image": 32},
           allowed_local_media_path="/"),
    caught("vllm-project/vllm-omni#1397", "max_lora_rank: must be one of 1, 8, 16, 32, 64", enable_lora=True,
           max_lora_rank=48),
    caught("PrimeIntellect-ai/prime-rl#1408", "max_lora_rank: must be one of 1, 8, 16, 32, 64", max_lora_rank=4),
    caught("verl-project/verl#259", "8192 must be at least `max_model_len` (9216)", max_num_batched_tokens=8192,
           max_model_len=9216, enable_chunked_prefill=False),
    caught("vllm-project/vllm#15217", "needs 2 GPUs (`pipeline_parallel_size` 2)", gpus=1, pipeline_parallel_size=2,
           tensor_parallel_size=1),
    caught("vllm-project/vllm#8908", "needs 8 GPUs (`tensor_parallel_size` 8)", gpus=4, tensor_parallel_size=8),
    caught("OpenRLHF/OpenRLHF#758", "needs 16 GPUs", gpus=8, tensor_parallel_size=16),
    caught("GitM-Labs/runtime#76", "needs 16 GPUs (`tensor_parallel_size` 4 x `data_parallel_size` 4)", gpus=4,
           tensor_parallel_size=4, data_parallel_size=4),
    caught("vllm-project/vllm-ascend#4197", "attention_backend: must be one of", attention_backend="ASCEND"),
    missed("gpustack/gpustack#3640", MODEL, tensor_parallel_size=7),
    missed("verl-project/verl#7624", MODEL, max_num_batched_tokens=8192, enable_chunked_prefill=False),
    missed("unslothai/unsloth#2097", ADAPTER, enable_lora=True, max_lora_rank=16),
    missed("gpustack/gpustack#5438", ADAPTER, enable_lora=True),
    missed("vllm-project/vllm#5893", DRAFT,
           speculative_config={"model": "ibm-fms/llama-13b-accelerator", "num_speculative_tokens": 4}),
    missed("vllm-project/vllm#44566", DRAFT, max_model_len=2048, gpu_memory_utilization=0.5, enforce_eager=True,
           speculative_config={"method": "eagle3", "model": "nm-testing/Llama3_2_1B_speculator.eagle3"}),
    missed("vllm-project/vllm#42587", GPU, kv_cache_dtype="fp8_e5m2"),
    missed("1CatAI/1Cat-vLLM#27", GPU, quantization="awq", dtype="float16", tensor_parallel_size=2, max_num_seqs=1,
           max_num_batched_tokens=16384, max_model_len=33000, kv_cache_dtype="fp8"),
    missed("vllm-project/vllm#14320", GPU, attention_backend="TORCH_SDPA"),
    missed("vllm-project/vllm#31480", GPU, tensor_parallel_size=8, enable_expert_parallel=True),
    missed("vllm-project/recipes#551", MEMORY, max_num_seqs=1024, gpu_memory_utilization=0.95),
    missed("vllm-project/vllm#10797", MEMORY, gpu_memory_utilization=1),
    missed("vllm-project/vllm#17431", MEMORY, gpu_memory_utilization=0.4),
)  # fmt: skip
