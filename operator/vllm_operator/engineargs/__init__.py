"""Pure: model.json checked against the exact vLLM version that will run it."""
