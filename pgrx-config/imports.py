#!/usr/bin/env python3
"""Shows circles of imports between sibling modules of src.

imports.py          fails if siblings of any folder import each other in a circle
imports.py --edges  prints the edges of each folder instead

A module's edges are the paths of its `use` statements and of its code, tests left out. A folder's own mod.rs is the
folder, not a sibling: modules import what it has, and it imports theirs.
"""
import pathlib
import re
import sys

# Folders whose mod.rs has the safe functions above dispatch, and whose files the kernels below it: two siblings each.
FRONTS = {("distance", "fastscan"), ("distance", "packed")}

SOURCE = pathlib.Path(__file__).resolve().parent.parent / "src"


def module_of(path):
    parts = list(path.relative_to(SOURCE).with_suffix("").parts)
    if parts[-1] in ("mod", "lib"):
        parts.pop()
    return tuple(parts)


def is_test(path):
    return "tests" in path.relative_to(SOURCE).with_suffix("").parts or path.name == "test_data.rs"


def without_tests(text):
    text = re.sub(r"(?m)^\s*//.*$", "", text)
    cut = re.search(r"(?m)^#\[cfg\((?:any\()?test\b[^\n]*\]\n(?:#\[[^\n]*\]\n)*(?:pub )?mod tests \{", text)
    return text[: cut.start()] if cut else text


def expand(tree):
    """The paths of a use tree: a::{b, c::d} is a::b and a::c::d."""
    tree = tree.strip()
    brace = tree.find("{")
    if brace < 0:
        yield re.split(r"\s+as\s+", tree)[0].strip()
        return
    head, depth, start = tree[:brace], 0, brace + 1
    for at in range(brace, len(tree)):
        char = tree[at]
        depth += (char == "{") - (char == "}")
        if (char == "," and depth == 1) or depth == 0:
            if tree[start:at].strip():
                for path in expand(tree[start:at]):
                    yield head + path
            start = at + 1
        if depth == 0:
            return


def paths_in(text):
    for use in re.findall(r"(?m)^\s*(?:pub(?:\([^)]*\))? )?use ([^;]+);", text):
        yield from expand(re.sub(r"\s+", " ", use))
    yield from re.findall(r"(?<![\w:])((?:crate|super)(?:::\w+)+)", text)


def resolve(path, module, modules):
    """The module that a path leads to, or None."""
    parts = path.split("::")
    if parts[0] == "crate":
        base, parts = (), parts[1:]
    elif parts[0] in ("super", "self"):
        base = module
        while parts and parts[0] in ("super", "self"):
            base, parts = (base[:-1] if parts[0] == "super" else base), parts[1:]
    else:
        base = module
        if not parts or base + (parts[0],) not in modules:
            return None
    for part in parts:
        if base + (part,) not in modules:
            break
        base += (part,)
    return base


def edges_of(modules):
    """For each folder, who imports whom among its children: {folder: {child: {child: (from, path)}}}."""
    edges = {}
    for module, path in modules.items():
        for name in paths_in(without_tests(path.read_text())):
            target = resolve(name, module, modules)
            if not target or not module:
                continue
            common = 0
            while common < min(len(module), len(target)) and module[common] == target[common]:
                common += 1
            if common < len(module) and common < len(target):
                children = edges.setdefault(module[:common], {})
                source, other = sibling(module, common), sibling(target, common)
                children.setdefault(source, {}).setdefault(other, ("::".join(module), name))
    return edges


def sibling(module, depth):
    """The name of a module's ancestor among the children of a folder at this depth."""
    name = module[depth]
    return name + "/*" if module[: depth + 1] in FRONTS and len(module) > depth + 1 else name


def circles(graph):
    """The strongly connected components of more than one child (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph.get(node, {}):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            component = []
            while True:
                component.append(stack.pop())
                if component[-1] == node:
                    break
            if len(component) > 1:
                found.append(sorted(component))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def main():
    modules = {module_of(path): path for path in sorted(SOURCE.rglob("*.rs")) if not is_test(path)}
    failed = False
    for folder, graph in sorted(edges_of(modules).items()):
        name = "::".join(("crate",) + folder)
        if "--edges" in sys.argv:
            for child, others in sorted(graph.items()):
                print(f"{name}: {child} -> {', '.join(sorted(others))}")
        for circle in circles(graph):
            failed = True
            print(f"{name}: a circle of imports: {', '.join(circle)}")
            for child in circle:
                for other, (source, path) in sorted(graph.get(child, {}).items()):
                    if other in circle:
                        print(f"    {child} -> {other}: {source} uses {path}")
    sys.exit(failed)


main()
