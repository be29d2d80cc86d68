"""A report as text, JSON or SARIF."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from vllm_operator import __version__
from vllm_operator.files.findings import Finding, Report

DOCS: Final = "docs/reasons.md"
SARIF_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"


def text(report: Report) -> str:
    """A line per finding, as compilers write them, and a summary."""
    lines = [
        f"{f.file}:{f.place.line}:{f.place.column}: {f.level} {f.reason}"
        f"{f' ({f.model})' if f.model else ''}: {f.message}"
        for f in report.findings
    ]
    warnings = len(report.findings) - report.errors
    models = f"{report.models} VLLMModel{'' if report.models == 1 else 's'}"
    documents = f"{report.documents} document{'' if report.documents == 1 else 's'}"
    found = f"{_count(report.errors, 'problem')}, {_count(warnings, 'warning')}"
    return "\n".join([*lines, f"{models} in {documents}: {found}"]) + "\n"


def as_json(report: Report) -> str:
    """The findings as data."""
    document = {
        "models": report.models,
        "documents": report.documents,
        "problems": [_entry(f) for f in report.findings if f.level == "error"],
        "warnings": [_entry(f) for f in report.findings if f.level == "warning"],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def sarif(report: Report) -> str:
    """The findings as SARIF 2.1.0, which code hosts show beside the changed line."""
    rules = sorted({finding.reason for finding in report.findings})
    run = {
        "tool": {
            "driver": {
                "name": "vllm-operator validate",
                "version": __version__,
                "rules": [{"id": rule, "shortDescription": {"text": rule}} for rule in rules],
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding, rules) for finding in report.findings],
    }
    return json.dumps({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


FORMATS: Final[Mapping[str, Callable[[Report], str]]] = {"text": text, "json": as_json, "sarif": sarif}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _entry(finding: Finding) -> dict[str, Any]:
    return {
        "file": finding.file,
        "line": finding.place.line,
        "column": finding.place.column,
        "model": finding.model,
        "reason": finding.reason,
        "message": finding.message,
    }


def _result(finding: Finding, rules: list[str]) -> dict[str, Any]:
    path = Path(finding.file)
    uri = path.as_uri() if path.is_absolute() else path.as_posix()
    region = {"startLine": finding.place.line, "startColumn": finding.place.column}
    return {
        "ruleId": finding.reason,
        "ruleIndex": rules.index(finding.reason),
        "level": finding.level,
        "message": {"text": f"{finding.message} (see {DOCS}#{finding.reason})"},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}}],
    }
