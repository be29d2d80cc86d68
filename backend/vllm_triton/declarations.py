"""The tensors that a model of this backend has, and how config.pbtxt is completed with them."""

from __future__ import annotations

from typing import Any, NamedTuple


class Declaration(NamedTuple):
    """One input or output tensor as config.pbtxt writes it."""

    name: str
    data_type: str
    dims: tuple[int, ...]
    optional: bool = True

    def as_input(self) -> dict[str, Any]:
        """Return the form that Triton's auto-completion takes for an input."""
        return {
            "name": self.name,
            "data_type": self.data_type,
            "dims": list(self.dims),
            "optional": self.optional,
        }

    def as_output(self) -> dict[str, Any]:
        """Return the form that Triton's auto-completion takes for an output."""
        return {"name": self.name, "data_type": self.data_type, "dims": list(self.dims)}


INPUTS = (
    Declaration("text_input", "TYPE_STRING", (1,), optional=False),
    Declaration("image", "TYPE_STRING", (-1,)),
    Declaration("stream", "TYPE_BOOL", (1,)),
    Declaration("sampling_parameters", "TYPE_STRING", (1,)),
    Declaration("exclude_input_in_output", "TYPE_BOOL", (1,)),
    Declaration("return_finish_reason", "TYPE_BOOL", (1,)),
    Declaration("return_cumulative_logprob", "TYPE_BOOL", (1,)),
    Declaration("return_logprobs", "TYPE_BOOL", (1,)),
    Declaration("return_num_input_tokens", "TYPE_BOOL", (1,)),
    Declaration("return_num_output_tokens", "TYPE_BOOL", (1,)),
    Declaration("embedding_request", "TYPE_STRING", (1,)),
    # Beyond the reference:
    Declaration("messages", "TYPE_STRING", (1,)),
    Declaration("prompt_token_ids", "TYPE_INT32", (-1,)),
    Declaration("return_token_ids", "TYPE_BOOL", (1,)),
    Declaration("pooling_request", "TYPE_STRING", (1,)),
    Declaration("backend_info_request", "TYPE_BOOL", (1,)),
)

OUTPUTS = (
    Declaration("text_output", "TYPE_STRING", (-1,)),
    Declaration("finish_reason", "TYPE_STRING", (-1,)),
    Declaration("cumulative_logprob", "TYPE_FP32", (-1,)),
    Declaration("logprobs", "TYPE_STRING", (-1,)),
    Declaration("num_input_tokens", "TYPE_UINT32", (1,)),
    Declaration("num_output_tokens", "TYPE_UINT32", (-1,)),
    # Beyond the reference:
    Declaration("token_ids", "TYPE_STRING", (-1,)),
    Declaration("backend_info", "TYPE_STRING", (1,)),
)


def complete_model_config(model_config: Any) -> Any:
    """Add missing tensors, the decoupled policy and no batching; keep what the user declared."""
    declared = model_config.as_dict()
    inputs = {tensor["name"] for tensor in declared.get("input", ())}
    outputs = {tensor["name"] for tensor in declared.get("output", ())}
    for tensor in INPUTS:
        if tensor.name not in inputs:
            model_config.add_input(tensor.as_input())
    for tensor in OUTPUTS:
        if tensor.name not in outputs:
            model_config.add_output(tensor.as_output())
    model_config.set_model_transaction_policy({"decoupled": True})
    model_config.set_max_batch_size(0)
    return model_config
