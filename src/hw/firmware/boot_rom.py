#!/usr/bin/env python3
"""Assembles boot_rom.asm with nasm and writes boot_rom_image.cpp: its bytes, each line beside its instruction."""
import pathlib
import re
import subprocess
import tempfile

FOLDER = pathlib.Path(__file__).resolve().parent
HEAD = """// Made by boot_rom.py from boot_rom.asm, which has the comments: change that and run it again.
#include "hw/firmware/boot_rom.h"

namespace doppel::hw {

namespace {

// clang-format off
constexpr std::uint8_t kCode[] = {
"""
TAIL = """};
// clang-format on

}  // namespace

std::span<const std::uint8_t> boot_rom_code() { return kCode; }

}  // namespace doppel::hw
"""


def assemble():
    """The bytes, and (offset, source text) of each line that makes some."""
    with tempfile.TemporaryDirectory() as scratch:
        binary, listing = pathlib.Path(scratch, "rom"), pathlib.Path(scratch, "list")
        subprocess.run(["nasm", "-f", "bin", "-o", binary, "-l", listing, FOLDER / "boot_rom.asm"], check=True)
        lines = {}
        for text in listing.read_text().splitlines():
            row = re.match(r"\s*\d+ ([0-9A-F]{8}) (?:\w+<rep \w+>|\S+)\s*(.*)", text)
            if row and row[2]:
                lines[int(row[1], 16)] = re.sub(r"\s+", " ", row[2].split(";")[0]).strip()
        return binary.read_bytes(), sorted(lines.items())


def main():
    code, lines = assemble()
    out = [HEAD]
    ends = [offset for offset, _ in lines[1:]] + [len(code)]
    for (offset, source), end in zip(lines, ends):
        for start in range(offset, end, 12):
            part = ", ".join(f"0x{byte:02x}" for byte in code[start : min(start + 12, end)]) + ","
            note = f"// {start:03x}  {source}" if start == offset else f"// {start:03x}"
            out.append(f"    {part:<72}  {note}\n")
    out.append(TAIL)
    (FOLDER / "boot_rom_image.cpp").write_text("".join(out))


main()
