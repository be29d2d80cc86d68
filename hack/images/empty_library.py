"""Writes shared libraries that hold nothing: `empty_library.py DIR NAME...`.

PyPI has torch for x86 only as the CUDA build, whose libraries name 2.7 GB of NVIDIA's as needed. A process
without a GPU calls none of them, but the loader wants each file to exist. An empty library is enough for it:
functions are bound at their first call, and a library without symbol versions satisfies any version.
"""

import struct
import sys
from pathlib import Path
from typing import Final

_BASE: Final = 64 + 3 * 56
_DT_HASH, _DT_STRTAB, _DT_SYMTAB, _DT_STRSZ, _DT_SYMENT, _DT_SONAME = 4, 5, 6, 10, 11, 14


def library(name: str) -> bytes:
    """An x86-64 ELF shared object with the soname `name`, no code and no symbols."""
    strings = b"\0" + name.encode() + b"\0"
    symbols = bytes(24)  # the null symbol
    hashes = struct.pack("<5I", 1, 1, 0, 0, 0)  # one bucket, one symbol
    at_symbols = _BASE
    at_hashes = at_symbols + len(symbols)
    at_dynamic = -(-(at_hashes + len(hashes)) // 8) * 8
    dynamic_size = 7 * 16
    at_strings = at_dynamic + dynamic_size
    dynamic = b"".join(
        struct.pack("<QQ", tag, value)
        for tag, value in (
            (_DT_SONAME, 1),
            (_DT_HASH, at_hashes),
            (_DT_STRTAB, at_strings),
            (_DT_SYMTAB, at_symbols),
            (_DT_STRSZ, len(strings)),
            (_DT_SYMENT, 24),
            (0, 0),
        )
    )
    size = at_strings + len(strings)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01" + bytes(9),
        3,  # shared object
        62,  # x86-64
        1,
        0,
        64,
        0,
        0,
        64,
        56,
        3,
        64,
        0,
        0,
    )
    segments = (
        (1, 6, 0, size, 0x1000),  # load, readable and writable: the loader relocates the dynamic section
        (2, 6, at_dynamic, dynamic_size, 8),  # dynamic
        (0x6474E551, 6, 0, 0, 16),  # a stack that is not executable
    )
    headers = b"".join(
        struct.pack("<IIQQQQQQ", kind, flags, at, at, at, length, length, align)
        for kind, flags, at, length, align in segments
    )
    body = symbols + hashes
    padding = bytes(at_dynamic - _BASE - len(body))
    return header + headers + body + padding + dynamic + strings


def main() -> None:
    """Write one library for each name."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:]:
        file = folder / name
        file.write_bytes(library(name))
        file.chmod(0o755)


if __name__ == "__main__":
    main()
