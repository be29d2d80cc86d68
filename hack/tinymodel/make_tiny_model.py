"""Makes the model that tests and the demo serve: `make_tiny_model.py OUT_DIR`.

A Llama with two layers learns the sentences of expected.json by heart, so that greedy decoding gives one
known continuation for each prompt. Two LoRA adapters under OUT_DIR/adapters learn another ending of one of
them. Needs torch and transformers (the triton-cpu image has both), one CPU core and well under a minute.
Nothing is taken from the outside, and the result is checked before the program ends.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

EXPECTED: Final = Path(__file__).with_name("expected.json")

BOS: Final = "<s>"
EOS: Final = "</s>"
PAD: Final = "<pad>"
ROLES: Final = ("<|system|>", "<|user|>", "<|assistant|>")
END: Final = "<|end|>"
VOCABULARY: Final = 512
CONTEXT: Final = 1024
CHAT_TEMPLATE: Final = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)

LORA_RANK: Final = 8
LORA_ALPHA: Final = 16
LORA_TARGETS: Final = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

#: Greedy decoding stays the same on another CPU and in bfloat16 as long as no choice was close.
LEAST_PROBABILITY: Final = 0.9


def main() -> int:
    """Make, check and write the model and its adapters."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path)
    out: Path = parser.parse_args().out
    started = time.monotonic()
    torch.manual_seed(20)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    expected = json.loads(EXPECTED.read_text(encoding="utf-8"))
    tokenizer = make_tokenizer(expected)
    samples = [(p["prompt"], p["continuation"]) for p in [*expected["prompts"], expected["long"]]]
    chats = [(render_chat(tokenizer, c["messages"]), c["continuation"]) for c in expected["chat"]]
    lessons = [lesson(tokenizer, p, c) for p, c in samples]
    lessons += [lesson(tokenizer, p, c, special=False) for p, c in chats]

    model = make_model(tokenizer)
    learn(model, model.parameters(), lessons, "model", rate=3e-3)
    model.to(torch.bfloat16)
    model.save_pretrained(out)
    write_tokenizer(tokenizer, out)
    check(model, tokenizer, lessons)

    for name, sample in expected["adapters"].items():
        # The other sentences stay in the lesson, or the adapter would forget the model's knowledge.
        kept = [lesson(tokenizer, p, c) for p, c in samples if p != sample["prompt"]]
        wanted = lesson(tokenizer, sample["prompt"], sample["continuation"])
        make_adapter(model, out / "adapters" / name, [wanted, *kept], name)
    for file in [out, *out.rglob("*")]:
        file.chmod(0o755 if file.is_dir() else 0o644)
    print(f"tiny model: {out} in {time.monotonic() - started:.0f} s", flush=True)
    return 0


def make_tokenizer(expected: dict[str, Any]) -> PreTrainedTokenizerFast:
    """Byte-level, so that any text can be a prompt; merges come from the sentences themselves."""
    texts = [p["prompt"] + p["continuation"] for p in [*expected["prompts"], expected["long"]]]
    texts += [p["prompt"] + p["continuation"] for p in expected["adapters"].values()]
    texts += [m["content"] for c in expected["chat"] for m in c["messages"]]
    texts += [c["continuation"] for c in expected["chat"]]

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken(token, special=True) for token in (PAD, BOS, EOS, *ROLES, END)]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def write_tokenizer(tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """With the class name and the place of the chat template that every release of transformers knows."""
    tokenizer.save_pretrained(out)
    (out / "chat_template.jinja").unlink(missing_ok=True)
    file = out / "tokenizer_config.json"
    known = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": CHAT_TEMPLATE}
    configuration = json.loads(file.read_text(encoding="utf-8")) | known
    file.write_text(json.dumps(configuration, indent=2) + "\n", encoding="utf-8")


def make_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Two layers; sizes are multiples that vLLM's CPU kernels take."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config).float()
    model.generation_config.do_sample = False
    return model


def render_chat(tokenizer: PreTrainedTokenizerFast, messages: list[dict[str, str]]) -> str:
    """The conversation as the text that the model sees before it answers."""
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert isinstance(text, str)
    return text


#: Token ids, and how many of them are the prompt.
Lesson = tuple[list[int], int]


def lesson(
    tokenizer: PreTrainedTokenizerFast, prompt: str, continuation: str, *, special: bool = True
) -> Lesson:
    """One sentence to learn, ending in EOS."""
    head = tokenizer.encode(prompt, add_special_tokens=special)
    tail = tokenizer.encode(continuation, add_special_tokens=False)
    whole = tokenizer.encode(prompt + continuation, add_special_tokens=special)
    assert whole == head + tail, f"a prompt must end where a token ends: {prompt!r}"
    return [*whole, tokenizer.eos_token_id], len(head)


def learn(
    model: LlamaForCausalLM, parameters: Iterator[nn.Parameter], lessons: list[Lesson], name: str, rate: float
) -> None:
    """Train until every token of every continuation is certain."""
    longest = max(len(ids) for ids, _ in lessons)
    inputs = torch.zeros(len(lessons), longest, dtype=torch.long)
    labels = torch.full_like(inputs, -100)
    mask = torch.zeros_like(inputs)
    for row, (ids, known) in enumerate(lessons):
        inputs[row, : len(ids)] = torch.tensor(ids)
        mask[row, : len(ids)] = 1
        labels[row, known : len(ids)] = torch.tensor(ids[known:])
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)
    wanted = -math.log(LEAST_PROBABILITY) / 4
    for step in range(2000):
        logits = model(input_ids=inputs, attention_mask=mask).logits[:, :-1]
        losses = nn.functional.cross_entropy(logits.transpose(1, 2), labels[:, 1:], reduction="none")
        optimizer.zero_grad()
        (losses.sum() / (labels[:, 1:] != -100).sum()).backward()
        optimizer.step()
        worst = float(losses.max().detach())
        if step % 50 == 0:
            print(f"{name}: step {step}, worst token {worst:.4f}", flush=True)
        if worst < wanted:
            print(f"{name}: learned after {step} steps", flush=True)
            return
    raise SystemExit(f"{name}: not learned, worst token {worst:.4f}")


def check(model: nn.Module, tokenizer: PreTrainedTokenizerFast, lessons: list[Lesson]) -> None:
    """In the precision that is served, every next token is right and far ahead of the others."""
    for ids, known in lessons:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0].float()
        probabilities = logits.softmax(-1)
        for position in range(known, len(ids)):
            if float(probabilities[position - 1, ids[position]]) < LEAST_PROBABILITY:
                raise SystemExit(f"not certain after {tokenizer.decode(ids[:position])!r}")


class LowRank(nn.Module):
    """A frozen linear layer with a trained low-rank addition."""

    def __init__(self, frozen: nn.Linear) -> None:
        super().__init__()
        self.frozen = frozen
        self.a = nn.Parameter(torch.randn(LORA_RANK, frozen.in_features) / math.sqrt(frozen.in_features))
        self.b = nn.Parameter(torch.zeros(frozen.out_features, LORA_RANK))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The frozen layer's answer plus ours."""
        return self.frozen(x) + (x @ self.a.T @ self.b.T) * (LORA_ALPHA / LORA_RANK)


def make_adapter(model: LlamaForCausalLM, folder: Path, lessons: list[Lesson], name: str) -> None:
    """Train one adapter, and write it as the PEFT library would."""
    model.float().requires_grad_(False)
    layers: dict[str, LowRank] = {}
    undo: list[Callable[[], None]] = []
    for path, module in list(model.named_modules()):
        parent_path, _, attribute = path.rpartition(".")
        if attribute in LORA_TARGETS and isinstance(module, nn.Linear):
            parent = model.get_submodule(parent_path)
            layers[path] = LowRank(module)
            setattr(parent, attribute, layers[path])
            undo.append(lambda p=parent, a=attribute, m=module: setattr(p, a, m))  # type: ignore[misc]
    learn(model, (p for layer in layers.values() for p in (layer.a, layer.b)), lessons, name, rate=1e-3)
    for restore in undo:
        restore()

    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        f"base_model.model.{path}.lora_{letter}.weight": weight.detach().to(torch.bfloat16).contiguous()
        for path, layer in layers.items()
        for letter, weight in (("A", layer.a), ("B", layer.b))
    }
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    configuration = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "tiny-model",
        "r": LORA_RANK,
        "lora_alpha": LORA_ALPHA,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": list(LORA_TARGETS),
    }
    (folder / "adapter_config.json").write_text(json.dumps(configuration, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
