"""JSON that the API server's YAML reader takes: server-side apply is always read as YAML."""

import json
import re
from typing import Any, Final

#: What YAML 1.1 does not allow unescaped, or takes for a line break, beyond what JSON escapes anyway.
_NOT_PLAIN: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def yaml_text(obj: Any) -> bytes:
    """The object as JSON without surrogate pairs, with which YAML refuses what JSON makes of an emoji."""
    plain = json.dumps(obj, ensure_ascii=False)
    escaped = _NOT_PLAIN.sub(lambda found: f"\\u{ord(found.group()):04x}", plain)
    # A lone surrogate is no character at all; nobody can have stored one.
    return escaped.encode(errors="replace")
