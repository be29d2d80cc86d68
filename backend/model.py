"""Triton's entry points: everything else lives in the package `vllm_triton` beside this file."""

from __future__ import annotations

import faulthandler
import locale
import os
import sys
from typing import Any

# The stub's interpreter starts in the C locale and ignores PYTHONUTF8: model files would be read as ASCII.
try:
    locale.setlocale(locale.LC_ALL, "C.UTF-8")
except locale.Error:
    locale.setlocale(locale.LC_ALL, "")

# Nor does it read this variable, by which whoever ends a hung process has its stacks in the log; and it hands
# its ignorance on to vLLM's processes, but also its -X options.
if os.environ.get("PYTHONFAULTHANDLER"):
    faulthandler.enable()
    sys._xoptions["faulthandler"] = True

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from vllm_triton.declarations import complete_model_config


class TritonPythonModel:
    """The class that Triton's Python backend looks for."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        """Add what the user left out of config.pbtxt."""
        return complete_model_config(auto_complete_model_config)

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model; return once it has generated a token."""
        # Not at the top: a stub of its own asks for the completed configuration and needs no vLLM for it.
        from vllm_triton.lifecycle import LoadedModel

        self._model = LoadedModel(args)

    def execute(self, requests: list[Any]) -> None:
        """Take requests in; answers go through each request's response sender."""
        self._model.accept(requests)

    def is_ready(self) -> bool:
        """Whether the engine can serve (asked by Triton 26.04 and later)."""
        return self._model.ready

    def finalize(self) -> None:
        """Drain, then stop the engine."""
        self._model.close()
