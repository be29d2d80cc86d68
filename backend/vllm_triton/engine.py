"""The only module that knows vLLM: everything that moves between its versions is here.

Written for vLLM 0.26 to 0.33 (V1 engine, `AsyncLLM`).
"""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import os
import shutil
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import vllm
from pydantic import TypeAdapter, ValidationError
from vllm.config import VllmConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.inputs import tokens_input
from vllm.lora.request import LoRARequest
from vllm.platforms import current_platform
from vllm.pooling_params import PoolingParams
from vllm.renderers.inputs.preprocess import parse_model_prompt
from vllm.renderers.params import ChatParams
from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams
from vllm.usage.usage_lib import UsageContext
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError
from vllm.v1.engine.utils import EngineZmqAddresses, launch_core_engines
from vllm.v1.executor import Executor
from vllm.v1.metrics.loggers import PrometheusStatLogger

from .errors import Kind, RequestFailed, generating, invalid, unhealthy
from .frontends import Follower, Leader, Seat
from .progress import Progress

VERSION: str = vllm.__version__

# Fields of SamplingParams that are this backend's or vLLM's own business.
_NOT_FOR_CLIENTS = frozenset({"output_kind", "skip_clone", "output_text_buffer_length", "stream_interval"})
_SAMPLING = TypeAdapter(SamplingParams)
SAMPLING_NAMES: frozenset[str] = frozenset(
    field.name
    for field in msgspec.structs.fields(SamplingParams)
    if not field.name.startswith("_") and field.name not in _NOT_FOR_CLIENTS
)
STRUCTURED_OUTPUTS_NAMES: frozenset[str] = frozenset(
    field.name for field in dataclasses.fields(StructuredOutputsParams) if field.init
)

# What the engine's messages can carry (msgpack): vLLM finds out too late, when it has noted the request.
_INTEGERS = range(-(2**63), 2**64)

# How vLLM says that a prompt has fewer placeholders than images; it has no class of error for that.
_NO_PLACE = ("Failed to apply prompt", "Expected there to be")

# So many messages with outputs show that the engine has passed what it does only once, for its first request.
_PROVING_MESSAGES = 16

Sink = Callable[[Any], None]


def argument_fields() -> dict[str, Any]:
    """Return the names of the engine's arguments with their declared types."""
    return {field.name: field.type for field in dataclasses.fields(AsyncEngineArgs)}


def one_line(error: BaseException) -> str:
    """Return an error's text as one line."""
    if isinstance(error, ValidationError):
        parts = []
        for detail in error.errors(include_url=False, include_context=False):
            where = ".".join(str(part) for part in detail["loc"] if isinstance(part, (str, int)))
            text = detail["msg"].removeprefix("Value error, ").rstrip(".")
            parts.append(f"`{where}`: {text}" if where else text)
        return "; ".join(dict.fromkeys(parts)) + "."
    return " ".join(str(error).split()) or type(error).__name__


def translate(error: BaseException) -> RequestFailed | None:
    """Return the client's error for one of vLLM's, or None if it is not one a client should read."""
    if isinstance(error, RequestFailed):
        return error
    if isinstance(error, EngineDeadError):
        return unhealthy()
    names = {base.__name__ for base in type(error).__mro__}
    if "VLLMNotFoundError" in names:
        return generating(Kind.NOT_FOUND, one_line(error))
    if names & {"VLLMClientError", "ValueError", "TypeError", "OverflowError", "NotImplementedError"}:
        return invalid(one_line(error))
    if getattr(error, "http_status", None) is not None:
        return generating(Kind.UNAVAILABLE, one_line(error))
    return None


def sampling_params(values: Mapping[str, Any], *, stream: bool, cumulative_logprob: bool) -> SamplingParams:
    """Build the engine's sampling parameters; raises `RequestFailed` naming what is wrong."""
    try:
        params: SamplingParams = _SAMPLING.validate_python(dict(values))
    except (ValidationError, ValueError, TypeError) as error:
        raise invalid(one_line(error)) from None
    for name, value in values.items():
        if not (_can_be_sent(value) and _can_be_sent(getattr(params, name))):
            raise invalid(f"`{name}` has an integer of more than 64 bits or text that is not valid Unicode.")
    params.output_kind = RequestOutputKind.DELTA if stream else RequestOutputKind.FINAL_ONLY
    if cumulative_logprob and not asks_for_logprobs(values):
        # Zero extra tokens: only what the sampled one's probability needs.
        params.logprobs = 0
    return params


def asks_for_logprobs(values: Mapping[str, Any]) -> bool:
    """Whether sampling parameters ask for the log probabilities of tokens."""
    return values.get("logprobs") is not None or bool(values.get("logprob_token_ids"))


def _can_be_sent(value: Any) -> bool:
    if isinstance(value, int):
        return value in _INTEGERS
    if isinstance(value, str):
        return value.isascii() or value == value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return all(_can_be_sent(part) for item in value.items() for part in item)
    if isinstance(value, (list, tuple)):
        return all(_can_be_sent(item) for item in value)
    return True


def ended_in_error(output: Any) -> bool:
    """Whether the engine gave up a sequence of a generation, which it does not raise."""
    return "error" in [sequence.finish_reason for sequence in output.outputs]


def pooling_params(task: str, values: Mapping[str, Any]) -> PoolingParams:
    """Build the engine's pooling parameters."""
    try:
        return PoolingParams(task=task, **values)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise invalid(one_line(error)) from None


class FinishedRequest:
    """What vLLM reports of a finished request."""

    __slots__ = (
        "decode_time",
        "e2e_latency",
        "finish_reason",
        "generation_tokens",
        "inference_time",
        "prefill_time",
        "prompt_tokens",
        "queued_time",
    )

    def __init__(self, stats: Any) -> None:
        self.finish_reason = str(stats.finish_reason)
        self.e2e_latency: float = stats.e2e_latency
        self.queued_time: float = stats.queued_time
        self.prefill_time: float = stats.prefill_time
        self.decode_time: float = stats.decode_time
        self.inference_time: float = stats.inference_time
        self.prompt_tokens: int = stats.num_prompt_tokens
        self.generation_tokens: int = stats.num_generation_tokens


class Step:
    """What vLLM reports of one step of the engine; read later, off the event loop."""

    __slots__ = ("_iteration", "_scheduler")

    def __init__(self, scheduler: Any, iteration: Any) -> None:
        self._scheduler = scheduler
        self._iteration = iteration

    @property
    def prompt_tokens(self) -> int:
        """Tokens prefilled."""
        return int(self._iteration.num_prompt_tokens) if self._iteration else 0

    @property
    def generation_tokens(self) -> int:
        """Tokens generated."""
        return int(self._iteration.num_generation_tokens) if self._iteration else 0

    @property
    def preemptions(self) -> int:
        """Requests preempted."""
        return int(self._iteration.num_preempted_reqs) if self._iteration else 0

    @property
    def first_token_latencies(self) -> list[float]:
        """Times to the first token."""
        return self._iteration.time_to_first_tokens_iter if self._iteration else []

    @property
    def token_latencies(self) -> list[float]:
        """Times since the token before, for each later token."""
        return self._iteration.inter_token_latencies_iter if self._iteration else []

    @property
    def params_n(self) -> list[int]:
        """The parameter n of each finished request."""
        return self._iteration.n_params_iter if self._iteration else []

    @property
    def finished(self) -> list[FinishedRequest]:
        """The sequences that finished in this step."""
        return (
            [FinishedRequest(stats) for stats in self._iteration.finished_requests] if self._iteration else []
        )

    @property
    def running(self) -> int | None:
        """Requests in the running batch, or None if this step carries no word of it."""
        return int(self._scheduler.num_running_reqs) if self._scheduler else None

    @property
    def waiting(self) -> int:
        """Requests that wait, whatever for."""
        if not self._scheduler:
            return 0
        skipped = getattr(self._scheduler, "num_skipped_waiting_reqs", 0)
        return int(self._scheduler.num_waiting_reqs) + int(skipped)

    @property
    def kv_cache_usage(self) -> float:
        """Share of the KV cache in use."""
        return float(self._scheduler.kv_cache_usage) if self._scheduler else 0.0

    @property
    def prefix_cache_queries(self) -> int:
        """Prompt tokens looked up in the prefix cache."""
        stats = self._scheduler.prefix_cache_stats if self._scheduler else None
        return int(stats.queries) if stats else 0

    @property
    def prefix_cache_hits(self) -> int:
        """Prompt tokens found in the prefix cache."""
        stats = self._scheduler.prefix_cache_stats if self._scheduler else None
        return int(stats.hits) if stats else 0


def stat_logger(take: Callable[[Step], None]) -> type[PrometheusStatLogger]:
    """Build the class by which vLLM hands over its statistics.

    It derives from vLLM's Prometheus logger, and does nothing of it, because vLLM adds that logger, with its
    cost in every step, unless one of the loggers given is of its kind.
    """

    class StatLogger(PrometheusStatLogger):
        def __init__(self, vllm_config: Any, engine_indexes: Any = None) -> None:
            del vllm_config, engine_indexes

        def record(self, scheduler_stats: Any, iteration_stats: Any, *args: Any, **kwargs: Any) -> None:
            del args, kwargs
            take(Step(scheduler_stats, iteration_stats))

        def record_sleep_state(self, *args: Any, **kwargs: Any) -> None:
            del args, kwargs

        def record_admission_rejection(self, reason: str) -> None:
            del reason

        def log_engine_initialized(self) -> None:
            pass

        def log(self) -> None:
            pass

    return StatLogger


class Handle:
    """A request inside the engine, to be aborted by."""

    __slots__ = ("request_id",)

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id


class PromptTokenizer:
    """Tokenises short prompts in a fifth of the time of the renderer's way, without the interpreter's lock.

    It is the tokenizer's own core, copied because the renderer's threads change the state of theirs, and it
    is used only where it gives what the renderer gives. It belongs to one thread.
    """

    _LONGEST = 16_384
    _PROBES = (
        "Hello, world!",
        " two  spaces\n\nand lines\t",
        "\u00dcn\u00efc\u00f6d\u00e9 \u6f22\u5b57 \U0001f600 0123",
        "",
    )

    def __init__(self, core: Any, limit: int) -> None:
        self._core = core
        self._limit = limit

    @classmethod
    def of(cls, llm: AsyncLLM) -> PromptTokenizer | None:
        """Return the fast way for this model, or None if it has none."""
        renderer = llm.renderer
        tokenizer = renderer.tokenizer
        core: Any = getattr(tokenizer, "_tokenizer", None)
        model = llm.vllm_config.model_config
        params = renderer.default_cmpl_tok_params
        if (
            not hasattr(core, "encode_batch_fast")
            or model.is_encoder_decoder
            or not params.add_special_tokens
            or params.do_lower_case
            or params.truncate_prompt_tokens is not None
            or params.pad_prompt_tokens is not None
        ):
            return None
        core = copy.deepcopy(core)
        core.no_truncation()
        core.no_padding()
        mine = cls(core, model.max_model_len)
        for probe in cls._PROBES:
            if mine.encode(probe) != list(tokenizer(probe)["input_ids"]):
                return None
        return mine

    def encode(self, text: str) -> list[int] | None:
        """Return the prompt's token ids, or None if the prompt is to go the renderer's way."""
        if len(text) > self._LONGEST:
            return None
        token_ids: list[int] = self._core.encode_batch_fast([text])[0].ids
        # The renderer refuses a prompt that is too long in its own words.
        return token_ids if len(token_ids) < self._limit else None


class Engine:
    """A running vLLM engine. All methods but the properties belong to the event loop's thread."""

    def __init__(self, llm: AsyncLLM, tasks: tuple[str, ...]) -> None:
        self._llm = llm
        self.tasks = tasks
        self._config = llm.vllm_config
        self.tokenizer = PromptTokenizer.of(llm)
        self._cause: str | None = None
        self._progress = Progress()
        # Whether the engine has served a request since its warm-up: what is compiled at first use then is.
        self.proven = False
        self._unproven: int | None = None
        self._adapters_on_their_way = 0
        self._count_messages()

    @classmethod
    async def start(
        cls,
        arguments: Mapping[str, Any],
        take_step: Callable[[int], Callable[[Step], None] | None],
        frontend: Leader | Follower,
    ) -> Engine:
        """Start the engine, or join the one that the leading front end starts; wait until it has the model.

        `take_step` is given the longest sequence the model takes and returns where statistics go, if at all.
        """
        _do_without_a_compiler()
        seat = frontend.seat
        args = AsyncEngineArgs(**arguments)
        if seat.count > 1:
            # As vLLM's own server does for its several API processes: among others, what a front end has
            # cached of an image is then not taken for what the engine has.
            args._api_process_count = seat.count
            args._api_process_rank = -1 if isinstance(frontend, Leader) else seat.index
        config = args.create_engine_config(usage_context=UsageContext.OPENAI_API_SERVER)
        if isinstance(frontend, Follower):
            await asyncio.to_thread(frontend.wait_for_engine)
        take = None if args.disable_log_stats else take_step(config.model_config.max_model_len)
        manager: Any = None
        shared: dict[str, Any] = {}
        if seat.count > 1:
            if isinstance(frontend, Leader):
                manager = _launch(config, seat, log_stats=take is not None)
                config.parallel_config._api_process_rank = 0
            shared = {
                "client_addresses": {
                    "input_address": seat.input_address(seat.index),
                    "output_address": seat.output_address(seat.index),
                },
                "client_count": seat.count,
                "client_index": seat.index,
            }
        llm = AsyncLLM.from_vllm_config(
            config,
            usage_context=UsageContext.OPENAI_API_SERVER,
            stat_loggers=[stat_logger(take)] if take is not None else None,
            enable_log_requests=args.enable_log_requests,
            aggregate_engine_logging=args.aggregate_engine_logging,
            # Without a consumer the per-step statistics are work for nothing.
            disable_log_stats=True,
            **shared,
        )
        if manager is not None:
            # From here on the leader is to the engine what a lone front end is: it watches and ends it.
            llm.engine_core.resources.engine_manager = manager
            llm.engine_core.start_engine_core_monitor()
        return cls(llm, tuple(await llm.get_supported_tasks()))

    def _count_messages(self) -> None:
        """Have every message of the engine noted as vLLM takes it: once for a step, not for a request."""
        client: Any = self._llm.engine_core
        take = client.get_output_async

        async def take_and_count() -> Any:
            message = await take()
            self._progress.sent(message.engine_index, self._busy_ranks())
            if self._unproven is not None:
                self._prove(message)
            return message

        client.get_output_async = take_and_count

    def _busy_ranks(self) -> set[int]:
        """The ranks that have requests of this front end; vLLM keeps that only where it has several."""
        engines: Mapping[str, bytes] = getattr(self._llm.engine_core, "reqs_in_flight", {})
        return {int.from_bytes(engine, "little") for engine in set(engines.values())}

    @property
    def messages(self) -> int:
        """How many messages came, whatever was in them; of several ranks, in how many rounds."""
        return self._progress.rounds

    def warmed_up(self) -> None:
        """Note that what comes from now on is of clients' requests."""
        self._unproven = _PROVING_MESSAGES

    def _prove(self, message: Any) -> None:
        """A first request that is long shows as much by its outputs as one that ends."""
        outputs = message.outputs
        if self._unproven is None or not outputs:
            return
        self._unproven -= 1
        if self._unproven <= 0 or any(output.finished for output in outputs):
            self.proven, self._unproven = True, None

    async def answer(self) -> None:
        """Ask the engine something cheap, which it answers between two steps; counts as a message of it."""
        await self._llm.is_sleeping()
        self._progress.all_answered(self._busy_ranks())

    @property
    def loading_adapter(self) -> bool:
        """Whether the engine loads an adapter for this front end, and answers nothing meanwhile."""
        return self._adapters_on_their_way > 0

    @property
    def errored(self) -> bool:
        """Whether the engine is dead."""
        return bool(self._llm.errored)

    @property
    def revision(self) -> str | None:
        """The commit of the model on the hub, where it is known."""
        return getattr(self._config.model_config.hf_config, "_commit_hash", None) or None

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether prompts have an encoder part (such models cannot be warmed up with text alone)."""
        return bool(self._config.model_config.is_encoder_decoder)

    @property
    def scores_pairs(self) -> bool:
        """Whether the model is a cross-encoder: it reads a query and a document together."""
        return str(getattr(self._config.model_config, "score_type", "")) == "cross-encoder"

    @property
    def unfinished(self) -> int:
        """How many requests (each sequence counts) the engine's front end holds."""
        return int(self._llm.output_processor.get_num_unfinished_requests())

    def death(self) -> str:
        """Say how the engine's process ended, as far as it can be known."""
        return self._cause or self._exit() or "engine stopped answering"

    def _exit(self) -> str | None:
        manager = getattr(self._llm.engine_core.resources, "engine_manager", None)
        codes = [
            process.exitcode for process in getattr(manager, "processes", ()) if process.exitcode is not None
        ]
        return f"engine process ended with exit code {codes[0]}" if codes else None

    async def check_health(self) -> None:
        """Raise if the engine is unhealthy."""
        await self._llm.check_health()

    async def render_text(self, text: str, images: list[Any] | None = None) -> Any:
        """Tokenise a prompt, with its images if there are any, off the event loop."""
        if not images:
            return await self._render({"prompt": text})
        try:
            return await self._render({"prompt": text, "multi_modal_data": {"image": images}})
        except (AssertionError, RuntimeError) as error:
            if not str(error).startswith(_NO_PLACE):
                raise
            raise invalid(
                f"the prompt has no place for each of the {len(images)} images in `image`: "
                "write the model's image placeholder once for each."
            ) from None

    def encoded(self, text: str, token_ids: list[int]) -> Any:
        """Prepare a prompt that `tokenizer` has encoded."""
        return tokens_input(token_ids, prompt=text)

    async def render_tokens(self, token_ids: list[int]) -> Any:
        """Prepare a prompt that is tokenised already."""
        return await self._render({"prompt_token_ids": token_ids})

    async def _render(self, prompt: dict[str, Any]) -> Any:
        parsed = parse_model_prompt(self._config.model_config, prompt)
        (rendered,) = await self._llm.renderer.render_cmpl_async([parsed])
        return rendered

    async def render_chat(self, messages: list[Any], template_arguments: Mapping[str, Any]) -> Any:
        """Apply the model's chat template to messages and tokenise the result."""
        params = ChatParams(
            chat_template_kwargs={"add_generation_prompt": True, "tokenize": False, **template_arguments}
        )
        _, (rendered,) = await self._llm.renderer.render_chat_async([messages], params)
        return rendered

    async def render_pair(self, first: str, second: str) -> tuple[Any, dict[str, Any]]:
        """Tokenise a pair of texts for a cross-encoder; also return what its pooling parameters need."""
        tokenizer = self._llm.renderer.get_tokenizer()
        if getattr(self._config.model_config, "use_sep_token", True):
            encoded = await asyncio.to_thread(tokenizer, text=first, text_pair=second)
        else:
            encoded = await asyncio.to_thread(tokenizer, text=first + second)
        extra: dict[str, Any] = {}
        types = encoded.get("token_type_ids")
        if types is not None:
            # vLLM takes them as the position of the first one.
            first_one = types.index(1) if 1 in types else len(types)
            extra["extra_kwargs"] = {"compressed_token_type_ids": first_one}
        return await self.render_tokens(encoded["input_ids"]), extra

    async def submit(
        self,
        request_id: str,
        prompt: Any,
        params: SamplingParams | PoolingParams,
        sink: Sink,
        *,
        lora: LoRARequest | None = None,
        priority: int = 0,
    ) -> Handle:
        """Give a request to the engine; `sink` is called for every output and for the engine's error.

        The collector that vLLM makes for each request would wake a task for every token and merge what
        that task is late for. Its `put` is replaced: outputs go from vLLM's output loop straight to
        the sink, which must not raise.
        """
        try:
            collector = await self._llm.add_request(
                request_id, prompt, params, lora_request=lora, priority=priority
            )
        except Exception:
            # vLLM notes a request before it sends it: one that could not be sent would count for ever.
            await self._llm.abort(request_id)
            raise
        collector.put = sink
        early = collector.output
        if early is not None:
            collector.output = None
            sink(early)
        return Handle(collector.request_id)

    async def abort(self, handle: Handle) -> None:
        """Make the engine drop a request."""
        await self._llm.abort(handle.request_id, internal=True)

    async def add_lora(self, lora: LoRARequest) -> None:
        """Load an adapter."""
        self._adapters_on_their_way += 1
        try:
            await self._llm.add_lora(lora)
            self._progress.all_answered(self._busy_ranks())
        finally:
            self._adapters_on_their_way -= 1

    async def remove_lora(self, number: int) -> None:
        """Unload an adapter."""
        await self._llm.remove_lora(number)

    def abandon(self, cause: str) -> None:
        """Take the engine for dead, and end it if it is this front end's to end."""
        if self._llm.errored:
            return
        self._cause = self._exit() or cause
        self._llm.engine_core.resources.engine_dead = True
        manager = self._llm.engine_core.resources.engine_manager
        if manager is not None:
            manager.shutdown(timeout=0)

    def shutdown(self, timeout: float) -> None:
        """Stop the engine's processes."""
        handler = self._llm.output_handler
        if handler is not None:
            # First, or it reports the end of the engine as a failure.
            handler.get_loop().call_soon_threadsafe(handler.cancel)
        self._llm.shutdown(timeout=timeout)


def _launch(config: VllmConfig, seat: Seat, *, log_stats: bool) -> Any:
    """Start the engine's process for several front ends; return what manages it, once it has the model."""
    front_ends = range(seat.count)
    addresses = EngineZmqAddresses(
        inputs=[seat.input_address(index) for index in front_ends],
        outputs=[seat.output_address(index) for index in front_ends],
    )
    with launch_core_engines(config, Executor.get_class(config), log_stats, addresses) as launched:
        # A tuple in older versions (0.26).
        manager = launched[0] if isinstance(launched, tuple) else launched.engine_manager
    return manager


def _do_without_a_compiler() -> None:
    """On a CPU, let torch run uncompiled where there is no C++ compiler.

    vLLM compiles small functions when first needed, such as for log probabilities: without a compiler the
    first request that needs one would end the engine.
    """
    if current_platform.is_cpu() and not shutil.which(os.environ.get("CXX", "g++")):
        os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")


def lora_request(name: str, number: int, path: str) -> LoRARequest:
    """Describe an adapter to the engine."""
    return LoRARequest(lora_name=name, lora_int_id=number, lora_path=path)
