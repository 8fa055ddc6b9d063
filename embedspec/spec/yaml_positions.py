"""YAML with the line of every key and value: the core schema of YAML 1.2, and nothing surprising.

What differs between YAML readers is refused where it stands rather than guessed: `no` as a word,
1:30, 007, a key without a value, a key given twice, tags. Anchors and `<<` merges are legal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from embedspec.spec.problems import Problem, SpecProblems
from embedspec.spec.secrecy import shown

MAX_BYTES = 1 << 20
MAX_VALUES = 100_000
"""Keys and values after aliases are expanded: a small file may otherwise stand for billions."""

_TAG = "tag:yaml.org,2002:"
_MERGE = _TAG + "merge"
_WORD, _BASE_60, _ZERO = "embedspec:word", "embedspec:base-60", "embedspec:zero"


class _CoreResolver(BaseResolver):
    """Plain scalars by the YAML 1.2 core schema; what YAML 1.1 reads otherwise has its own tags."""


for _tag, _pattern in (
    (_WORD, r"y|Y|yes|Yes|YES|n|N|no|No|NO|on|On|ON|off|Off|OFF"),
    (_BASE_60, r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"),
    (_ZERO, r"[-+]?0[0-9_]+"),
    (_MERGE, r"<<"),
    (_TAG + "null", r"~|null|Null|NULL|"),
    (_TAG + "bool", r"true|True|TRUE|false|False|FALSE"),
    (_TAG + "int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"),
    (
        _TAG + "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    ),
):
    _CoreResolver.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), None)


class _Loader(Reader, Scanner, Parser, Composer, _CoreResolver):
    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        _CoreResolver.__init__(self)


Path = tuple[str | int, ...]


def dotted(path: Path) -> str:
    """`corpus.source.path[1]`: a place in the document, for people."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


@dataclass(slots=True)
class Document:
    """One file's data, and where everything in it stands."""

    file: str
    data: Any = None
    lines: dict[str, int] = field(default_factory=dict)
    """Line (from 1) of every key and list entry, by its dotted path; of the whole by ""."""

    def has(self, path: str) -> bool:
        return path in self.lines

    def where(self, path: str) -> str:
        """`file:line` of the dotted path, or of the nearest thing around it that is there."""
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return f"{self.file}:{self.lines.get(path, 1)}"


def load_yaml(raw: bytes, file: str) -> Document:
    """Read one YAML (or JSON) document. Raises SpecError with file and line for everything wrong."""
    text = _decode(raw, file)
    try:
        node = _compose(text, file)
        if node is None:
            raise SpecProblems([Problem("is empty", file, "write a spec; `embedspec init` makes one")])
        builder = _Builder(file)
        data = builder.build(node, (), ())
    except yaml.YAMLError as error:
        raise SpecProblems([_syntax_problem(error, text, file)]) from None
    except RecursionError:
        raise SpecProblems([Problem("is nested too deeply to be a spec", file, "unfold it")]) from None
    if builder.problems:
        raise SpecProblems(builder.problems)
    builder.document.data = data
    return builder.document


def _compose(text: str, file: str) -> Node | None:
    loader = _Loader(text)
    try:
        node: Node | None = loader.get_single_node()
    except (ValueError, OverflowError) as error:  # e.g. an escape beyond Unicode, "\\UFFFFFFFF"
        problem = Problem(
            f"is not YAML: {error}", f"{file}:{loader.line + 1}", "check escapes and numbers here"
        )
        raise SpecProblems([problem]) from None
    return node


def _decode(raw: bytes, file: str) -> str:
    if len(raw) > MAX_BYTES:
        raise SpecProblems(
            [
                Problem(
                    f"has {len(raw):,} bytes; a spec has at most {MAX_BYTES:,}",
                    file,
                    "is this the right file?",
                )
            ]
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        what = f"is not UTF-8: byte 0x{raw[error.start]:02x} at offset {error.start}"
        raise SpecProblems([Problem(what, f"{file}:{line}", "save it as UTF-8")]) from None


def _syntax_problem(error: yaml.YAMLError, text: str, file: str) -> Problem:
    """PyYAML's complaint of several lines as one line, with the way out where it is known."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        code = error.character if isinstance(error.character, int) else ord(error.character)
        return Problem(f"holds the control character U+{code:04X}", f"{file}:{line}", "remove it")
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem is None:
        return Problem(f"is not YAML: {error}", file, "check its syntax")
    mark = error.problem_mark or error.context_mark
    place = f"{file}:{mark.line + 1}" if mark else file
    problem = error.problem
    if "'\\t'" in problem or _is_tab(text, mark):
        return Problem("a tab: YAML is indented with spaces", place, "replace the tab by spaces")
    if isinstance(error, yaml.composer.ComposerError) and "another document" in problem:
        return Problem("a second document starts here", place, "keep one spec a file, without `---`")
    if "undefined alias" in problem:
        return Problem(problem.removeprefix("found "), place, "define the anchor above, as in `&name`")
    context = f"{error.context}: " if error.context else ""
    fix = "check indentation, colons and brackets around here; quote text that holds `: ` or ` #`, or that "
    return Problem(
        f"is not YAML: {context}{problem}", place, fix + "starts with one of @ ` % & * ! | > [ { \" '"
    )


def _is_tab(text: str, mark: Any) -> bool:
    if mark is None:
        return False
    lines = text.split("\n")
    line = lines[mark.line] if mark.line < len(lines) else ""
    return "\t" in line[: len(line) - len(line.lstrip())]


class _Builder:
    """Turns nodes into data, noting lines, and collecting whatever is wrong."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.document = Document(file)
        self.problems: list[Problem] = []
        self._values = 0
        self._refused: set[int] = set()

    def refuse(self, node: Node, what: str, fix: str) -> None:
        if id(node) not in self._refused:  # an alias brings the same node again
            self._refused.add(id(node))
            self.problems.append(Problem(what, self._place(node), fix))

    def _place(self, node: Node) -> str:
        return f"{self.file}:{node.start_mark.line + 1}"

    def _count(self, node: Node) -> None:
        self._values += 1
        if self._values > MAX_VALUES:
            what = f"aliases expand to more than {MAX_VALUES:,} values"
            raise SpecProblems([Problem(what, self._place(node), "use fewer aliases of aliases")])

    def build(self, node: Node, path: Path, above: tuple[int, ...]) -> Any:
        """The data of `node`; `above` holds the ids of the nodes around it, against cycles."""
        self._count(node)
        if id(node) in above:
            what = f"{dotted(path)}: an alias of something that it stands in"
            raise SpecProblems([Problem(what, self._place(node), "write the value out")])
        self.document.lines.setdefault(dotted(path), node.start_mark.line + 1)
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        above = (*above, id(node))
        mapping = node if isinstance(node, MappingNode) else None
        expected = "map" if mapping else "seq"
        if node.tag not in (_TAG + expected, "!"):
            self._refuse_tag(node, path)
            return None
        if mapping is None:
            return [self.build(item, (*path, index), above) for index, item in enumerate(node.value)]
        data = {}
        for key, (key_node, value) in self._entries(mapping, path, above).items():
            self.document.lines[dotted((*path, key))] = key_node.start_mark.line + 1
            data[key] = self.build(value, (*path, key), above)
        return data

    def _entries(self, node: MappingNode, path: Path, above: tuple[int, ...]) -> dict[str, tuple[Node, Node]]:
        """Keys and values of a mapping; its own keys win over merged ones, earlier merges over later."""
        own: dict[str, tuple[Node, Node]] = {}
        merged: dict[str, tuple[Node, Node]] = {}
        merge_node: Node | None = None
        for key_node, value in node.value:
            if key_node.tag == _MERGE:
                if merge_node is not None:
                    self._refuse_twice("<<", merge_node, key_node, path)
                merge_node = key_node
                for entry in self._merged(value, path, above):
                    merged = {**entry, **merged}
                continue
            key = self._key(key_node, path)
            if key is None:
                continue
            if key in own:
                self._refuse_twice(key, own[key][0], key_node, path)
                continue
            own[key] = (key_node, value)
        return {**{key: entry for key, entry in merged.items() if key not in own}, **own}

    def _merged(
        self, node: Node, path: Path, above: tuple[int, ...]
    ) -> Iterator[dict[str, tuple[Node, Node]]]:
        sources = node.value if isinstance(node, SequenceNode) else [node]
        for source in sources:
            self._count(source)
            if id(source) in above:
                what = f"{dotted(path)}: `<<` merges something into itself"
                raise SpecProblems([Problem(what, self._place(node), "write the keys out")])
            if isinstance(source, MappingNode):
                yield self._entries(source, path, (*above, id(source)))
            else:
                self.refuse(
                    source, "`<<` takes an alias of a mapping, or a list of them", "write `<<: *name`"
                )

    def _refuse_twice(self, key: str, first: Node, second: Node, path: Path) -> None:
        within = f" in {dotted(path)}" if path else ""
        a, b = first.start_mark.line + 1, second.start_mark.line + 1
        if a == b:
            what = f"key {key!r} is given twice{within} on line {a}"
        else:
            what = f"key {key!r} is given twice{within}: lines {a} and {b}"
        self.refuse(second, what, "keep one of them")

    def _refuse_tag(self, node: Node, path: Path) -> None:
        name = node.tag.replace(_TAG, "!!")
        self.refuse(
            node, f"{dotted(path) or 'the document'}: tag {name} means nothing here", "remove the tag"
        )

    def _key(self, node: Node, path: Path) -> str | None:
        if not isinstance(node, ScalarNode):
            self.refuse(
                node, f"{dotted(path) or 'the document'}: a key that is not text", "write a plain word"
            )
            return None
        self._count(node)
        value = self._scalar(node, (*path, node.value), key=True)
        if id(node) in self._refused:
            return None
        if not isinstance(value, str):
            within = f" in {dotted(path)}" if path else ""
            self.refuse(node, f"key {node.value or 'null'}{within} is not text", f'quote it: "{node.value}"')
            return None
        return value

    def _scalar(self, node: ScalarNode, path: Path, *, key: bool = False) -> Any:
        written, tag = node.value, node.tag
        name = f"key in {dotted(path[:-1]) or 'the document'}" if key else dotted(path) or "the document"
        display = shown(dotted(path), written)
        quoted = f'quote it: "{written}"' if display != "***" else "quote it"
        match tag.removeprefix(_TAG):
            case "str" | "!":
                return self._text(node, name)
            case "null":
                if not written and not key:
                    self.refuse(node, f"{name}: has no value", "write a value, or remove the key")
                return None
            case "bool" if written.lower() in ("true", "false"):
                return written.lower() == "true"
            case "int" | "float" as kind:
                return self._number(node, name, kind)
            case "embedspec:word":
                truth = "true" if written.lower() in ("y", "yes", "on") else "false"
                self.refuse(node, f"{name}: {display} unquoted is {truth} to some YAML readers", quoted)
            case "embedspec:base-60":
                self.refuse(
                    node,
                    f"{name}: {display} unquoted is a number to the base 60 to some YAML readers",
                    quoted,
                )
            case "embedspec:zero":
                what = f"{name}: {display} unquoted is an octal number to some YAML readers"
                self.refuse(node, what, f"{quoted}, or drop the leading zero")
            case "merge":
                self.refuse(node, f"{name}: `<<` stands for nothing here", 'quote it: "<<"')
            case _:
                self._refuse_tag(node, path)
        return None

    def _text(self, node: ScalarNode, name: str) -> str | None:
        """JSON writes characters beyond U+FFFF as two escapes, which PyYAML leaves as two halves."""
        text: str = node.value
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self.refuse(node, f"{name}: half a surrogate pair", "write the character itself")
            return None

    def _number(self, node: ScalarNode, name: str, kind: str) -> int | float | None:
        written: str = node.value
        try:
            if kind == "int":
                return int(written, 0) if written[:2] in ("0o", "0x") else int(written)
            number = float(written)
            if number - number == 0:
                return number
        except ValueError:
            pass
        self.refuse(
            node, f"{name}: {written[:40]} is no number that a spec can hold", "write a finite number"
        )
        return None
