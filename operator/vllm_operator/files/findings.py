"""What is wrong with the VLLMModels of some files, found by the operator's own code."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from vllm_operator import engineargs
from vllm_operator.api.conditions import Problem, Reason
from vllm_operator.api.v1alpha1 import SpecInvalid, VLLMModel, parse_model
from vllm_operator.convert.serving import Leftover
from vllm_operator.desired import policy
from vllm_operator.engineargs import schema
from vllm_operator.files import strict
from vllm_operator.files.admin import versions
from vllm_operator.files.documents import Document, Place
from vllm_operator.settings import Settings

#: Sentences of the API server about a type, which a value and a remedy can follow.
_WRONG_TYPE = re.compile(r": must be (an integer|true or false|a string|a list|an object)$")
_PATH = re.compile(r"^`?((?:apiVersion|kind|metadata|spec)[^\s:`]*)`?:? ")


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence about one object, and where it stands."""

    file: str
    place: Place
    level: Literal["error", "warning"]
    reason: str
    message: str
    model: str = ""


@dataclass(slots=True)
class Report:
    """The findings, and how much was looked at."""

    findings: list[Finding]
    models: int = 0
    documents: int = 0

    @property
    def errors(self) -> int:
        """Findings for which the operator or the API server would refuse an object."""
        return sum(finding.level == "error" for finding in self.findings)


def examine(documents: Iterable[Document], settings: Settings) -> Report:
    """Judge every VLLMModel among the documents; other objects are only counted."""
    report = Report(findings=[])
    seen: dict[tuple[str, str], str] = {}
    for document in documents:
        report.documents += 1
        if document.error:
            report.findings.append(_finding(document, "error", "InvalidYaml", document.error))
            continue
        if not strict.is_ours(document.value):
            continue
        report.models += 1
        found = _unique(_judge(document, settings))
        report.findings += sorted(found, key=lambda finding: (finding.place.line, finding.place.column))
        report.findings += _repeated(document, seen)
    return report


def examine_converted(converted: Iterable[tuple[Document, Iterable[Leftover]]], settings: Settings) -> Report:
    """Judge VLLMModels made from another format; what has no place in them is a warning."""
    pairs = list(converted)
    report = examine((document for document, _ in pairs), settings)
    for document, leftovers in pairs:
        for left in leftovers:
            if left.error:
                finding = _finding(document, "error", Reason.INVALID_SPEC, left.message, "")
            else:
                finding = _finding(document, "warning", "Warning", f"no place for {left.message}", "")
            report.findings.append(replace(finding, place=Place(*left.place)))
    report.findings.sort(key=lambda finding: (finding.file, finding.place.line, finding.place.column))
    return report


def model_of(document: Document) -> VLLMModel:
    """The VLLMModel of a document that has been examined; SpecInvalid if it is none."""
    value = document.value
    return parse_model(value if isinstance(value, dict) else {})


def _judge(document: Document, settings: Settings) -> Iterator[Finding]:
    value = document.value
    for path in document.duplicates:
        yield _finding(document, "error", "InvalidYaml", f"{path}: is given twice; remove one of them", path)
    for found in strict.violations(value):
        yield _finding(document, "error", Reason.INVALID_SPEC, f"{found.path}: {found.message}", found.path)
    try:
        model = parse_model(_parseable(value))
    except SpecInvalid as invalid:
        yield from _despite(document, settings, invalid.problems)
        return
    image = model.spec.runtime.image or settings.runtime_image
    yield from _problems(document, policy.problems(model, settings, image=image))
    for text in policy.warnings(model, settings, image=image):
        yield _finding(document, "warning", "Warning", text)
    yield from _probable(document, model, settings, image)


def _despite(document: Document, settings: Settings, problems: tuple[Problem, ...]) -> Iterator[Finding]:
    """A spec that the API server would refuse: its problems, and those that the operator would find."""
    spec = document.value.get("spec")
    spec = spec if isinstance(spec, dict) else {}
    version = _version(spec, settings)
    found = [*_engine_args(spec, settings, version), *_environment(spec, settings, version)]
    said = {_path(problem.message) for problem in found}
    yield from _problems(document, found)
    arguments = _mapping(spec.get("engineArgs"))
    for problem in problems:
        path = _path(problem.message)
        if path in said:
            continue  # the operator's own sentence says what to write
        name = path.removeprefix("spec.engineArgs.")
        more = ""
        if name != path and name in arguments and _WRONG_TYPE.search(problem.message):
            more = engineargs.remedy(name, arguments[name])
        yield _finding(document, "error", problem.reason, problem.message + more, path)


def _version(spec: dict[str, Any], settings: Settings) -> str | None:
    image = _mapping(spec.get("runtime")).get("image")
    return engineargs.version_of_image(
        image if isinstance(image, str) else settings.runtime_image, versions(settings)
    )


def _engine_args(spec: dict[str, Any], settings: Settings, version: str | None) -> Iterator[Problem]:
    yield from engineargs.check(
        _mapping(spec.get("engineArgs")),
        vllm_version=version,
        permitted=frozenset(settings.permitted_engine_args),
        hub_source=False,
        environment=dict(_variables(spec)),
    )


def _environment(spec: dict[str, Any], settings: Settings, version: str | None) -> Iterator[Problem]:
    yield from policy.env_problems(_variables(spec), settings, version)


def _variables(spec: dict[str, Any]) -> list[tuple[str, str]]:
    """Name and value of each variable; what is none keeps its place."""
    listed = _mapping(spec.get("runtime")).get("env")
    pairs = [_mapping(entry) for entry in (listed if isinstance(listed, list) else [])]
    return [(str(pair.get("name", "")), str(pair.get("value", ""))) for pair in pairs]


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _path(message: str) -> str:
    match = _PATH.match(message)
    return match.group(1) if match else ""


def _parseable(value: dict[str, Any]) -> dict[str, Any]:
    """The object with a name: `metadata.generateName` leaves it to the API server."""
    metadata = value.get("metadata")
    if not isinstance(metadata, dict):
        return value | {"metadata": {}}
    if metadata.get("name") is None and isinstance(metadata.get("generateName"), str):
        return value | {"metadata": metadata | {"name": f"{metadata['generateName'].rstrip('-')}-xxxxx"}}
    return value


def _probable(document: Document, model: VLLMModel, settings: Settings, image: str) -> Iterator[Finding]:
    """Where the image's vLLM is not known: what the newest one would refuse, as warnings."""
    version = policy.vllm_version(model, settings, image=image)
    if model.spec.engine_args is None or schema.any_minor_of(version):
        return
    arguments = model.spec.engine_args.values()
    known = {problem.message for problem in engineargs.check(arguments, vllm_version=version)}
    newest = f"{schema.newest().minor}.0"
    for problem in engineargs.check(arguments, vllm_version=newest, permitted=frozenset(arguments)):
        if problem.message not in known:
            yield _finding(document, "warning", problem.reason, problem.message)


def _problems(document: Document, problems: Iterable[Problem]) -> Iterator[Finding]:
    for problem in problems:
        yield _finding(document, "error", problem.reason, problem.message)


def _repeated(document: Document, seen: dict[tuple[str, str], str]) -> Iterator[Finding]:
    """Two objects of one name in what is applied together: the second overwrites the first."""
    metadata = document.value.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        return
    key = (str(metadata.get("namespace") or ""), metadata["name"])
    if key in seen and seen[key] == document.file:
        message = f"metadata.name: '{key[1]}' is given twice in this file; the second overwrites the first"
        yield _finding(document, "warning", "Warning", message)
    seen[key] = document.file


def _finding(
    document: Document, level: Literal["error", "warning"], reason: str, message: str, path: str | None = None
) -> Finding:
    path = _path(message) if path is None else path
    metadata = document.value.get("metadata") if isinstance(document.value, dict) else None
    name = str(metadata.get("name", "")) if isinstance(metadata, dict) else ""
    return Finding(document.file, document.place(path), level, str(reason), _line(message), _line(name)[:64])


def _line(text: str) -> str:
    """One line that is safe on a terminal, whatever the input held."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _unique(findings: Iterable[Finding]) -> list[Finding]:
    """The same place is said once: a strict client and the schema find the same unknown type of thing."""
    return list({(f.place, f.message, f.level): f for f in findings}.values())
