"""Files are read as kubectl reads them, whatever they hold."""

from pathlib import Path
from typing import Any

import pytest

from vllm_operator.files.documents import CannotRead, Document, Place, parse, read


def documents(text: str) -> list[Document]:
    return list(parse(text.encode(), "f.yaml"))


def value(text: str) -> Any:
    (document,) = documents(text)
    assert document.error == ""
    return document.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1", {"a": 1}),
        ("a: yes", {"a": True}),
        ("a: 'yes'", {"a": "yes"}),
        ("a: 1e3", {"a": 1000.0}),
        ("a: 0.9", {"a": 0.9}),
        ("a: 0x10\nb: 010\nc: 1_000", {"a": 16, "b": 8, "c": 1000}),
        ("a: 1:30", {"a": "1:30"}),
        ("a: 2024-01-01", {"a": "2024-01-01"}),
        ("a: ~\nb:\nc: null", {"a": None, "b": None, "c": None}),
        ("1: x", {"1": "x"}),
        ("a: [1, {b: 2}]", {"a": [1, {"b": 2}]}),
        ('{"a": [1, 2.5, "x"]}', {"a": [1, 2.5, "x"]}),
        ('{"a": "\\ud800\\udc00"}', {"a": "\U00010000"}),
        ('{\t"a":\t1}', {"a": 1}),
        ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        ("base: &x {b: 1, c: 1}\na: {<<: *x, c: 2}", {"base": {"b": 1, "c": 1}, "a": {"c": 2, "b": 1}}),
        ("a: |\n  x\n  y\n", {"a": "x\ny\n"}),
        ("a: !!str 5", {"a": "5"}),
    ],
)
def test_values(text: str, expected: Any) -> None:
    assert value(text) == expected


def test_several_documents_and_empty_ones() -> None:
    assert [d.value for d in documents("---\na: 1\n---\n---\n# nothing\n---\nb: 2\n...\n")] == [
        {"a": 1},
        {"b": 2},
    ]
    assert documents("") == []


def test_a_list_is_its_items_with_their_places() -> None:
    text = "apiVersion: v1\nkind: List\nitems:\n- a: 1\n- a:\n    b: 2\n"
    first, second = documents(text)
    assert (first.value, second.value) == ({"a": 1}, {"a": {"b": 2}})
    assert second.place("a.b") == Place(6, 5)


def test_places_fall_back_to_the_field_above() -> None:
    (document,) = documents("spec:\n  env:\n  - name: A\n  - value: B\n")
    assert document.place("spec.env[1].name") == Place(4, 5)
    assert document.place("spec.env[7]") == Place(2, 3)
    assert document.place("spec.missing.deep") == Place(1, 1)
    for hostile in ("a]", "]", "[", ".", "..[", "spec.\n]x", "\n"):
        assert document.place(hostile) == Place(1, 1)


def test_repeated_keys_are_reported() -> None:
    (document,) = documents("a:\n  b: 1\n  b: 2\n")
    assert document.duplicates == ["a.b"]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a: [1", "must be YAML"),
        ("a: {{ .Values.x }}", "render Helm templates first"),
        ("a: *nope", "before or inside its anchor"),
        ("a: &x [*x]", "before or inside its anchor"),
        ("[1, 2]: x", "a key must be text"),
        ("a: {<<: 5}", "must refer to a mapping"),
        ("a: 0b" + "1" * 200, "not a number"),
        ("a: \t- b", "must be YAML"),
        ("a: " + "[" * 5000, "nested deeper than 100 levels"),
        ("\x07", "must be YAML"),
    ],
)
def test_what_is_no_yaml_is_one_sentence(text: str, part: str) -> None:
    error = documents(text)[-1].error
    assert part in error
    assert "\n" not in error


def test_a_small_file_cannot_stand_for_a_huge_one() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "more than 200000 values" in documents("\n".join(lines))[-1].error


def test_not_utf8() -> None:
    (document,) = parse(b"\xff\xfe\x00", "f")
    assert "must be UTF-8" in document.error


def test_directories_are_searched(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "b.yml").write_text("b: 1")
    (tmp_path / "deep" / "a.yaml").write_text("a: 1")
    (tmp_path / "c.json").write_text('{"c": 1}')
    (tmp_path / "README.md").write_text("# no")
    assert [d.value for d in read([str(tmp_path)])] == [{"b": 1}, {"c": 1}, {"a": 1}]


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CannotRead, match="No such file"):
        list(read([str(tmp_path / "missing.yaml")]))
    with pytest.raises(CannotRead, match=r"no \.yaml"):
        list(read([str(tmp_path)]))
