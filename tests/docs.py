#!/usr/bin/env python3
"""Runs the SQL of README.md and docs/*.md, and follows the relative links of all Markdown pages.

    docs.py links                  checks links alone
    docs.py run PSQL... [-- PAGE]  checks links, then runs the pages, or those named, by the command PSQL

Conventions of a page:

- A block ```sql runs, in the order of the page, in one psql session and one database for each page.
- A block ```text is the output of the last ```sql block, as psql prints it (without the footers that count rows) and
  without the heading of plans; `..` stands for any text of a line, a line `..` for any lines, and spaces count for
  nothing.
- <!-- not run: REASON --> before a block says why it does not run.
- <!-- $1 = EXPRESSION --> gives the parameter $1 of the blocks below a value.
- <!-- in a new database --> starts another database.
- <!-- sql, -->, on lines of their own, enclose SQL that runs and is not shown.
- Other blocks name their language too (sh, python); blocks by indentation are errors, since they would not run.

A database has the extension, unless the SQL of the page creates it there.
"""

import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTENSION = "pg_alopex"
FENCE = re.compile(r"^\s*```\s*(\S*)")
PARAMETER = re.compile(r"<!--\s*(\$\d+)\s*=\s*(.*?)\s*-->\s*$")
LINK = re.compile(r"\[[^\]]*\]\(([^()\s]+)\)")
MARK = "\x01"


@dataclass
class Block:
    """A fenced block of a page, or a hidden one."""

    language: str
    line: int
    is_hidden: bool = False
    reason: str = ""
    lines: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)

    @property
    def runs(self) -> bool:
        return self.language == "sql" and not self.reason


class Fault(Exception):
    """A fault of a page, with its place."""

    def __init__(self, page: Path, line: int, text: str):
        super().__init__(f"{page.relative_to(ROOT)}:{line}: {text}")


@dataclass
class Page:
    """The blocks of a page, and the lines before which a new database starts."""

    path: Path
    blocks: list[Block] = field(default_factory=list)
    databases: list[int] = field(default_factory=list)


def parse(path: Path) -> Page:
    page, block, reason, blank = Page(path), None, "", True
    values: dict[str, str] = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        fence = FENCE.match(line)
        if block is not None:
            if (line.strip() == "-->") if block.is_hidden else fence:
                page.blocks.append(block)
                block = None
            else:
                block.lines.append(line)
        elif fence:
            if not fence[1]:
                raise Fault(path, number, "the block names no language")
            block = Block(fence[1], number, reason=reason, values=dict(values))
            reason = ""
        elif line.strip() == "<!-- sql":
            block = Block("sql", number, is_hidden=True, values=dict(values))
        elif line.startswith("<!-- not run: "):
            reason = line.removeprefix("<!-- not run: ").removesuffix("-->").strip()
        elif line.strip() == "<!-- in a new database -->":
            page.databases.append(number)
        elif parameter := PARAMETER.match(line):
            values[parameter[1]] = parameter[2]
        elif line.startswith("    ") and blank:
            raise Fault(path, number, "a block by indentation: enclose it in ``` and name its language")
        elif line.strip() and reason:
            raise Fault(path, number, "'not run' stands directly before a block")
        blank = not line.strip()
    if block is not None:
        raise Fault(path, block.line, "the block does not end")
    return page


def script(page: Page, name: str) -> str:
    """What psql reads: each line of SQL has the number that it has on the page, so psql's errors name it."""
    lines = [""] * len(page.path.read_text().splitlines())
    starts = [0, *page.databases]
    for number, start in enumerate(starts):
        end = starts[number + 1] if number + 1 < len(starts) else len(lines) + 1
        sql = [block for block in page.blocks if block.runs and start <= block.line < end]
        database = name if number == 0 else f"{name}_{number}"
        lines[max(start, 1) - 1] = begin(database, sql)
    for block in page.blocks:
        if not block.runs:
            continue
        last = next((line for line in reversed(block.lines) if line.strip()), "")
        if not (last.rstrip().endswith(";") or last.startswith("\\")):
            raise Fault(page.path, block.line, "the block does not end with a semicolon")
        lines[block.line - 1] = f"\\echo '{MARK}{block.line}'"
        for offset, line in enumerate(block.lines):
            for parameter, value in block.values.items():
                line = line.replace(parameter, f"({value})")
            if re.search(r"\$\d", line):
                raise Fault(page.path, block.line + offset + 1, "the parameter has no value: <!-- $1 = .. -->")
            lines[block.line + offset] = line
        lines[block.line + len(block.lines)] = f"\\echo '{MARK}'"
    return "\n".join(lines) + "\n"


def begin(database: str, blocks: list[Block]) -> str:
    creates = any(f"CREATE EXTENSION {EXTENSION}" in line for block in blocks for line in block.lines)
    return (
        f'\\c postgres \\\\ SET client_min_messages = warning; DROP DATABASE IF EXISTS "{database}" WITH (FORCE);'
        f' CREATE DATABASE "{database}" TEMPLATE template0; \\c "{database}" \\\\ '
        + ("" if creates else f"CREATE EXTENSION {EXTENSION};")
    )


def normal(text: str) -> list[str]:
    """Lines of an output without empty ones, the heading of plans and the width of columns."""
    text = re.sub(r"^psql:<stdin>:\d+: ", "", text, flags=re.MULTILINE)
    lines = [re.sub(r"-{3,}", "---", " ".join(line.split())) for line in text.splitlines()]
    lines = [line for line in lines if line]
    plain = []
    for number, line in enumerate(lines):
        heading = lines[number - 1 : number + 1] == ["QUERY PLAN", "---"]
        if line != "QUERY PLAN" and not heading:
            plain.append(line)
    return plain


def matches(expected: list[str], printed: list[str]) -> bool:
    pattern = ""
    for line in expected:
        if line == "..":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*".join(re.escape(part) for part in line.split("..")) + r"\n"
    return re.fullmatch(pattern, "".join(line + "\n" for line in printed)) is not None


def run(page: Page, psql: list[str]) -> tuple[int, int]:
    """Runs a page; returns how many blocks ran and how many outputs were compared."""
    if not any(block.runs for block in page.blocks):
        return 0, 0
    path = page.path.relative_to(ROOT)
    name = "docs_" + re.sub(r"\W", "_", path.stem.lower())
    command = [*psql, "-q", "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-P", "pager=off", "-P", "footer=off", "-f", "-"]
    done = subprocess.run(
        command, input=script(page, name), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        lines = done.stdout.replace("psql:<stdin>:", f"{path}:").splitlines()
        first = next((number for number, line in enumerate(lines) if "ERROR:" in line), max(len(lines) - 10, 0))
        number = re.match(rf"{re.escape(str(path))}:(\d+):", lines[first]) if lines else None
        text = "\n".join([f"psql ended with status {done.returncode}", *lines[first:]])
        raise Fault(page.path, int(number[1]) if number else 1, text)
    printed = {}
    for part in re.split(f"^{MARK}", done.stdout, flags=re.MULTILINE)[1:]:
        number, _, text = part.partition("\n")
        if number:
            printed[int(number)] = text
    compared, last = 0, None
    for block in page.blocks:
        if block.language == "sql" and not block.is_hidden:
            last = block
        if block.language != "text":
            continue
        if last is None:
            raise Fault(page.path, block.line, "the output of no SQL")
        if not last.runs:
            continue
        expected, found = normal("\n".join(block.lines)), normal(printed[last.line])
        if not matches(expected, found):
            shown = "\n".join(["expected:", *expected, "printed:", printed[last.line].strip("\n")])
            raise Fault(page.path, block.line, f"the output is another one\n{shown}")
        compared += 1
        last = None
    return sum(block.runs for block in page.blocks), compared


def prose(path: Path) -> list[str]:
    """The lines of a page, empty ones in place of its blocks."""
    lines, inside = [], False
    for line in path.read_text().splitlines():
        fence = FENCE.match(line)
        inside ^= fence is not None
        lines.append("" if fence or inside else line)
    return lines


def anchors(path: Path) -> set[str]:
    """The names that GitHub gives the headings of a page."""
    names: set[str] = set()
    for line in prose(path):
        heading = re.match(r"#+\s+(.*)", line)
        names.update(re.findall(r'<a (?:id|name)="([^"]+)"', line))
        if heading:
            text = LINK.sub(lambda link: link[0][1 : link[0].index("]")], heading[1])
            slug = re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-")
            name, number = slug, 0
            while name in names:
                number += 1
                name = f"{slug}-{number}"
            names.add(name)
    return names


def check_links(path: Path) -> tuple[int, list[Fault]]:
    """How many relative links a page has, and those that lead nowhere."""
    count, faults = 0, []
    # A link may go on in the next line.
    text = re.sub(r"`[^`\n]*`", "", "\n".join(prose(path)))
    for link in LINK.finditer(text):
        target, number = link[1], text.count("\n", 0, link.end()) + 1
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists():
            faults.append(Fault(path, number, f"the link {target} leads to no file"))
        elif anchor and file.suffix == ".md" and anchor not in anchors(file):
            faults.append(Fault(path, number, f"the link {target} leads to no heading"))
        count += 1
    return count, faults


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in ("links", "run"):
        print(__doc__, file=sys.stderr)
        return 2
    action, *psql = arguments
    named: list[str] = []
    if "--" in psql:
        at = psql.index("--")
        psql, named = psql[:at], psql[at + 1 :]
    pages = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
    linked = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("src/**/*.md"))]
    for name in named:
        if ROOT / name not in pages:
            print(f"docs.py: there is no page {name}", file=sys.stderr)
            return 2
    checked = [check_links(path) for path in linked]
    broken = [fault for _, page_faults in checked for fault in page_faults]
    for fault in broken:
        print(f"not ok {fault}")
    print(f"{'not ok' if broken else 'ok'} links: {sum(count for count, _ in checked)}, of which {len(broken)} lead nowhere")
    faults = len(broken)
    if action == "run":
        for path in pages:
            name = str(path.relative_to(ROOT))
            if named and name not in named:
                continue
            try:
                ran, compared = run(parse(path), psql)
                print(f"ok {name}: {ran} blocks ran, {compared} outputs are as shown")
            except Fault as fault:
                print(f"not ok {fault}")
                faults += 1
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
