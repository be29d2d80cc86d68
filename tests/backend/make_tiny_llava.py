"""Makes the model that takes images: `make_tiny_llava.py TOKENIZER_DIR OUT_DIR`, run in the installation.

A LLaVA of a few layers with random weights from a fixed seed, wide enough that what it says depends on the
image. It needs no training: the tests compare its answers with one another.
"""

import re
import sys

import torch
from safetensors.torch import save_file
from transformers import (
    AutoTokenizer,
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

IMAGE = "<image>"
SIDE, PATCH = 28, 14


def main(tokenizer_folder: str, out: str) -> None:
    """Write configuration, weights, tokenizer and image processor."""
    torch.manual_seed(1)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE]})
    text = LlamaConfig(
        vocab_size=(len(tokenizer) + 63) // 64 * 64,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=512,
        initializer_range=0.3,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vision = CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=PATCH,
        projection_dim=64,
        initializer_range=0.3,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=(SIDE // PATCH) ** 2,
    )
    config.architectures = [LlavaForConditionalGeneration.__name__]
    config.save_pretrained(out)
    # vLLM knows the vision tower's weights by the names that transformers gave them up to release 4.
    weights = {
        re.sub(r"(vision_tower\.)(?!vision_model\.)", r"\1vision_model.", name): weight.contiguous()
        for name, weight in LlavaForConditionalGeneration(config).float().state_dict().items()
        if not name.endswith("position_ids")
    }
    save_file(weights, f"{out}/model.safetensors", metadata={"format": "pt"})
    pictures = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    LlavaProcessor(
        image_processor=pictures,
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        image_token=IMAGE,
        num_additional_image_tokens=1,
    ).save_pretrained(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
