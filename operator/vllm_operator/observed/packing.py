"""Objects as compressed JSON: thousands of models must fit, and each object is looked at seldom.

Objects of one kind are nearly the same text. So the first of a kind is the dictionary of all the others, and
some kilobytes become some hundred bytes (bench/results/operator.md).
"""

import json
import zlib
from dataclasses import dataclass

from vllm_operator.observed.state import Object

#: Deflate looks back this far at most.
_DICTIONARY_BYTES = 32_768


@dataclass(frozen=True, slots=True)
class Packed:
    """One object, unreadable until `unpack`."""

    data: bytes
    dictionary: bytes


class Packer:
    """Keeps one dictionary for each kind."""

    def __init__(self) -> None:
        self._dictionaries: dict[str, bytes] = {}

    def pack(self, obj: Object) -> Packed:
        """Compress an object of plain JSON values, of any depth that the process reads; see `unpack`."""
        text = json.dumps(obj, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogatepass")
        dictionary = self._dictionaries.setdefault(obj["kind"], text[:_DICTIONARY_BYTES])
        compressor = zlib.compressobj(level=1, wbits=-15, zdict=dictionary)
        return Packed(compressor.compress(text) + compressor.flush(), dictionary)


def unpack(packed: Packed) -> Object:
    """The object, made anew: nobody else holds it."""
    decompressor = zlib.decompressobj(wbits=-15, zdict=packed.dictionary)
    text = decompressor.decompress(packed.data) + decompressor.flush()
    obj: Object = json.loads(text.decode(errors="surrogatepass"))
    return obj
