"""Removes secrets and users' words from text that leaves the container."""

import re
from typing import Final

HIDDEN: Final = "[redacted]"

#: Keys of what a request holds: its text, and what it asks of the answer.
_USERS_WORDS: Final = (
    r"prompt|prompts|prompt_text|text_input|messages|content|input_text|input_value|stop|bad_words|"
    r"structured_outputs|guided_(?:json|regex|grammar|choice)|tools|documents|query"
)

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
    (
        # As YAML has it. Not every token: a tokenizer's are no secrets.
        re.compile(
            r"(?i)\b([\w-]{0,40}(?:(?:hf|hub|access|auth|api|bearer|refresh)_token|secret|password|passwd|"
            r"api[_-]?key|access[_-]?key)[\"']?\s{0,3}:\s{0,3})(?!\[redacted)[^\s\"',;)&\]}]+"
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(?i)(x-triton-vllm-admin=)\S+"), rf"\1{HIDDEN}"),
    # URLs: user and password, and signed query strings
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,20}://)[^\s/@\"']+@"), rf"\1{HIDDEN}@"),
    (re.compile(r"(?i)\b(https?://[^\s?\"'<>]+)\?[^\s\"'<>)]+"), rf"\1?{HIDDEN}"),
    # What users asked for: vLLM prints the request that was in flight when its engine died
    (
        re.compile(rf"(?i)\b({_USERS_WORDS})([\"']?\s*[=:]\s*)([\"'])(?:(?!\3)[^\\]|\\.)*(?:\3|$)"),
        rf"\1\2\3{HIDDEN}\3",
    ),
    (
        # Lists and objects: where they end cannot be told, so the rest of the line goes.
        re.compile(rf"(?i)\b((?:{_USERS_WORDS})[\"']?\s*[=:]\s*[\[{{(])(?!\s{{0,3}}[\]}})]|\[redacted).*"),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(StructuredOutputsParams\()(?!\)|\[redacted).*"), rf"\1{HIDDEN}"),
    (re.compile(r"(Dumping scheduler output\b[^:\n]{0,80}:).*"), rf"\1 {HIDDEN}"),
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
