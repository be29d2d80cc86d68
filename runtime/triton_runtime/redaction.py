"""Removes secrets and users' words from text that leaves the container."""

import re
from typing import Final

HIDDEN: Final = "[redacted]"

_RULES: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    # Tokens by their own form
    (re.compile(r"\bhf_[A-Za-z0-9]{8,}\b"), HIDDEN),
    (re.compile(r"\bapi_org_[A-Za-z0-9]{8,}\b"), HIDDEN),
    (re.compile(r"\b(?:sk|nvapi|ghp|gho|ghs|glpat|xox[abp])[-_][A-Za-z0-9_-]{16,}\b"), HIDDEN),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), HIDDEN),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"), HIDDEN),
    # Headers and assignments
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}"), rf"\1 {HIDDEN}"),
    (
        re.compile(
            r"(?i)([\"']?\b[\w-]{0,40}(?:token|secret|password|passwd|api[_-]?key|access[_-]?key|credential|authorization)"
            r"[\"']?\s*[=:]\s*)([\"'])(?:(?!\2)[^\\]|\\.)+\2"
        ),
        rf"\1\2{HIDDEN}\2",
    ),
    (
        re.compile(
            r"(?i)\b([\w-]{0,40}(?:_token|hf_token|secret|password|passwd|api[_-]?key|access[_-]?key)\s*=\s*)"
            r"[^\s\"',;)&\]}]+"
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(?i)(x-triton-vllm-admin=)\S+"), rf"\1{HIDDEN}"),
    # URLs: user and password, and signed query strings
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,20}://)[^\s/@\"']+@"), rf"\1{HIDDEN}@"),
    (re.compile(r"(?i)\b(https?://[^\s?\"'<>]+)\?[^\s\"'<>)]+"), rf"\1?{HIDDEN}"),
    # What users asked for: vLLM prints the request that was in flight when its engine died
    (
        re.compile(
            r"(?i)\b(prompt|prompt_text|text_input|messages)([\"']?\s*[=:]\s*)([\"'])(?:(?!\3)[^\\]|\\.)*(?:\3|$)"
        ),
        rf"\1\2\3{HIDDEN}\3",
    ),
    (
        re.compile(r"(?i)\b(prompt_token_ids|token_ids)([\"']?\s*[=:]\s*)\[[^\]\n]*\]?"),
        rf"\1\2[{HIDDEN}]",
    ),
)


def redact(text: str) -> str:
    """`text` without tokens, credentials in URLs and headers, and prompts."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text
