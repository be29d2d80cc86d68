"""PURE: engine arguments (model.json) against the exact vLLM version that will run them.

`check` gives everything that is wrong, `warnings` what may be, `version_of_image` says which vLLM an
image runs. The facts come from the generated files in `schemas/` (`make engine-schemas`).
"""

from vllm_operator.engineargs.check import check, remedy, warnings
from vllm_operator.engineargs.images import version_of_image

__all__ = ["check", "remedy", "version_of_image", "warnings"]
