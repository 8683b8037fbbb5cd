#!/usr/bin/env python3
"""Holds every #include of src/ against the table of layers in cmake/Layers.cmake."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"


def read_table():
    """Folder -> every folder it may include, itself and the transitive ones too."""
    direct = {}
    for line in (ROOT / "cmake/Layers.cmake").read_text().splitlines():
        row = re.fullmatch(r"doppel_layer\(([\w/]+)(?: MAY_USE ([\w/ ]+?))?(?: LINKS .*)?\)", line)
        if row:
            direct[row[1]] = (row[2] or "").split()
    allowed = {}
    for folder, uses in direct.items():
        unknown = [use for use in uses if use not in allowed]
        if unknown:
            sys.exit(f"Layers.cmake: {folder} names {unknown[0]}, which no row above it defines")
        allowed[folder] = {folder}.union(uses, *(allowed[use] for use in uses))
    return allowed


def main():
    allowed = read_table()
    violations = 0
    for path in sorted(SOURCE.rglob("*.[ch]*")):
        folder = str(path.parent.relative_to(SOURCE))
        if folder not in allowed:
            print(f"{path.relative_to(ROOT)}: the folder has no row in cmake/Layers.cmake")
            violations += 1
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            include = re.match(r'#include "([\w/.]+)"', line)
            if include and (target := str(pathlib.PurePath(include[1]).parent)) not in allowed[folder]:
                print(f"{path.relative_to(ROOT)}:{number}: {folder} may not include {target}")
                violations += 1
    if violations:
        sys.exit(f"{violations} violation(s) of the layers in cmake/Layers.cmake")
    print(f"layers: {len(allowed)} folders, no violation")


main()
