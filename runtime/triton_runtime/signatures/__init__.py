"""The texts that prove a cause: a table of rows, one file for each kind. Within a kind the first row wins.

To add one: write its row into the file of its kind, and a log that has it into
`tests/unit/runtime/failures/<Reason>.txt`. CONTRIBUTING.md says how.
"""

from typing import Final

from triton_runtime.signatures import access, communication, configuration, files, gpu, image, memory, process
from triton_runtime.signatures.table import CONSEQUENCES, WHILE_SERVING, Group, Signature

SIGNATURES: Final[tuple[Signature, ...]] = (
    configuration.ROWS
    + access.ROWS
    + files.ROWS
    + gpu.ROWS
    + image.ROWS
    + memory.ROWS
    + communication.ROWS
    + process.ROWS
)

__all__ = ["CONSEQUENCES", "SIGNATURES", "WHILE_SERVING", "Group", "Signature"]
