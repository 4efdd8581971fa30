#!/usr/bin/env python3
"""Holds comments of src to two rules of CONTRIBUTING.md that a script can see: sentences name their subjects, and lines
of comments are at most 100 wide.

Words like `what` and `whoever`, in the place of a noun, are counted: at most MOST of 1,000 words of a folder.
`prose.py -v` shows them by file.
"""
import pathlib
import re
import sys

SOURCE = pathlib.Path(__file__).resolve().parent.parent / "src"
WORDS = {"what", "those", "whatever", "whoever", "whose"}
MOST = 3.0
WIDTH = 100


def comments(path):
    for number, line in enumerate(path.read_text().split("\n"), 1):
        found = re.match(r"\s*//[/!]?(.*)", line)
        if found:
            yield number, line, found[1]


def main():
    failed = False
    for folder in sorted({path.relative_to(SOURCE).parts[0] for path in SOURCE.rglob("*.rs")}):
        words = hits = 0
        paths = [SOURCE / folder] if (SOURCE / folder).is_file() else sorted((SOURCE / folder).rglob("*.rs"))
        for path in paths:
            here = 0
            for number, line, text in comments(path):
                found = re.findall(r"[A-Za-z']+", text)
                words += len(found)
                here += sum(word.lower() in WORDS for word in found)
                if len(line) > WIDTH and "://" not in line and not text.lstrip().startswith("|"):
                    print(f"{path.relative_to(SOURCE.parent)}:{number}: a comment of {len(line)} columns")
                    failed = True
            hits += here
            if "-v" in sys.argv and here:
                print(f"{path.relative_to(SOURCE.parent)}: {here}")
        share = 1000 * hits / max(words, 1)
        if share > MOST and hits > 2:
            print(f"src/{folder}: {hits} of {words} words ({share:.1f} of 1,000) stand in the place of a noun: {', '.join(sorted(WORDS))}")
            failed = True
    sys.exit(failed)


main()
