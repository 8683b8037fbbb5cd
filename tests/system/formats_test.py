#!/usr/bin/env python3
"""vdi, vhdx, vmdk, vpc and qed by doppel-img against qemu-img and qemu-io: each tool reads what the other has written.

usage: formats_test.py [--seed N] [--rounds N] PROGRAM     exit status 77: skipped, no qemu-img or qemu-io
"""
import argparse
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

from commands import TIME_LIMIT, run_to_end
from vhdx_log import log_entry, with_checksum

KIB, MIB = 1 << 10, 1 << 20

# format, create options, largest disk in MiB; both tools take the same options
FORMATS = [
    ("vdi", "", 20),
    ("vdi", "static=on", 8),
    ("vpc", "", 20),
    ("vpc", "force_size=on", 20),
    ("vpc", "subformat=fixed", 8),
    ("vhdx", "", 40),
    ("vhdx", "block_size=1M", 20),
    ("vhdx", "block_size=2M,block_state_zero=off,log_size=2M", 20),
    ("vhdx", "subformat=fixed,block_size=1M", 8),
    ("qed", "", 20),
    ("qed", "cluster_size=4k,table_size=2", 20),  # with one cluster QEMU does not open what it created
    ("qed", "cluster_size=128k,table_size=16", 20),
    ("vmdk", "", 40),
    ("vmdk", "zeroed_grain=on,adapter_type=lsilogic", 40),
    ("vmdk", "subformat=monolithicFlat,compat6=on", 8),
    ("vmdk", "subformat=twoGbMaxExtentSparse,hwversion=7", 40),
    ("vmdk", "subformat=twoGbMaxExtentFlat", 8),
    ("vmdk", "subformat=streamOptimized", 40),
]


def run(*command, status=0):
    done = run_to_end(*command, status=status)
    if status == 1 and not done.stderr.startswith(("doppel-img: ", "qemu-img: ")):
        raise AssertionError(f"{command}: failed without a sentence: {done.stderr!r}")
    return done.stdout


def expect_equal(what, ours, theirs):
    if ours != theirs:
        raise AssertionError(f"{what} differs\n--- doppel-img\n{ours}\n--- qemu-img\n{theirs}")


def same_bytes(what, first, second):
    with open(first, "rb") as a, open(second, "rb") as b:
        while True:
            left, right = a.read(MIB), b.read(MIB)
            if left != right:
                raise AssertionError(f"{what}: '{first}' and '{second}' are not the same")
            if not left:
                return


class Case:
    def __init__(self, tool, chance, directory, format_, options, most_mib):
        self.tool, self.chance, self.directory = tool, chance, directory
        self.format, self.options = format_, options
        self.size = chance.randrange(MIB, most_mib * MIB) // 512 * 512
        self.flat = "lat" in options or "fixed" in options or "static" in options
        self.stream = "stream" in options
        self.serial = 0

    def path(self, name):
        return os.path.join(self.directory, name)

    def fresh(self):
        """In a folder of its own: extents have names too."""
        self.serial += 1
        os.mkdir(self.path(f"d{self.serial}"))
        return self.path(f"d{self.serial}/disk.{self.format}")

    def create_words(self, image, *more):
        return ["create", "-f", self.format] + (["-o", self.options] if self.options else []) + list(more) + [image, self.size]

    def qemu_writes(self, image, count, disk=None):
        commands = []
        size = disk or self.size
        for _ in range(count):
            offset = self.chance.randrange(size) // 512 * 512
            if self.chance.random() < 0.4:
                offset = offset // (64 * KIB) * 64 * KIB
            length = min(self.chance.choice([512, 4 * KIB, 64 * KIB, 100_352, MIB]), size - offset)
            kind = self.chance.choice(["-P 0x%x" % self.chance.randrange(1, 256)] * 4 + ["-z"])
            commands += ["-c", f"write {kind} {offset} {length}"]
        run("qemu-io", "-f", self.format, *commands, image)

    def raw_source(self):
        """A sparse raw disk that qemu-io has written."""
        source = self.path("source.raw")
        if os.path.exists(source):
            os.unlink(source)
        run("qemu-img", "create", "-f", "raw", source, self.size)
        commands = []
        for _ in range(self.chance.randrange(1, 12)):
            offset = self.chance.randrange(self.size) // 512 * 512
            length = min(self.chance.choice([512, 8 * KIB, 70 * KIB, 900 * KIB]), self.size - offset)
            commands += ["-c", f"write -P {self.chance.randrange(1, 256)} {offset} {length}"]
        run("qemu-io", "-f", "raw", *commands, source)
        return source

    def info(self, tool, image):
        info = json.loads(run(tool, "info", "--output=json", "-f", self.format, image))
        for machine_dependent in ("actual-size",):
            del info[machine_dependent]
        return info

    def expect_checked(self, image):
        if self.format != "vpc":
            run("qemu-img", "check", "-f", self.format, image)
            run(self.tool, "check", "-f", self.format, image)
        else:
            run(self.tool, "check", "-f", self.format, image, status=63)

    def expect_read_alike(self, image):
        """By both tools, byte for byte; and the pictures that both have of it."""
        ours, theirs = self.path("ours.raw"), self.path("theirs.raw")
        run(self.tool, "convert", "-f", self.format, "-O", "raw", image, ours)
        run("qemu-img", "convert", "-f", self.format, "-O", "raw", image, theirs)
        same_bytes(f"{self.format} {self.options}", ours, theirs)
        expect_equal("info", self.info(self.tool, image), self.info("qemu-img", image))
        human = [[line for line in run(tool, "info", "-f", self.format, image).splitlines() if not line.startswith("disk size")]
                 for tool in (self.tool, "qemu-img")]
        expect_equal("info", *human)
        if self.format != "vhdx" and not self.flat:  # QEMU tells nothing of VHDX's blocks; files' holes are the host's
            maps = [json.loads(run(tool, "map", "--output=json", "-f", self.format, image)) for tool in (self.tool, "qemu-img")]
            if self.stream:  # QEMU tells where compressed grains are
                for piece in sum(maps, []):
                    piece.pop("offset", None)
                maps = [[self.merged(pieces)] for pieces in maps]
            expect_equal("map", *maps)
        self.expect_checked(image)

    @staticmethod
    def merged(pieces):
        result = []
        for piece in pieces:
            key = (piece["present"], piece["zero"], piece["data"])
            if result and result[-1][2] == key:
                result[-1][1] += piece["length"]
            else:
                result.append([piece["start"], piece["length"], key])
        return result

    def create_alike(self):
        """The same words by both tools tell the same, and make disks of the same size."""
        images = [self.fresh(), self.fresh()]
        outputs = [run(tool, *self.create_words(image)).replace(image, "IMAGE") for tool, image in zip((self.tool, "qemu-img"), images)]
        expect_equal("create", *outputs)
        sizes = [self.info("qemu-img", image)["virtual-size"] for image in images]
        expect_equal("size", *sizes)
        for image in images:
            self.expect_read_alike(image)
        return images

    def qemu_writes_ours_reads(self, images):
        if self.stream:
            target = self.fresh()
            run("qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", self.options, self.raw_source(), target)
            self.expect_read_alike(target)
            return
        for image in images:
            self.qemu_writes(image, self.chance.randrange(1, 12))
            self.expect_read_alike(image)

    def ours_writes_qemu_reads(self):
        source, target = self.raw_source(), self.fresh()
        words = ["-o", self.options] if self.options else []
        flags = self.chance.choice([[], ["-W"], ["-m", "1"], ["-S", "0"], ["-S", "64k"]])
        if self.stream:
            flags = self.chance.choice([[], ["-c"]])
        run(self.tool, "convert", *flags, "-f", "raw", "-O", self.format, *words, source, target)
        run("qemu-img", "compare", "-f", "raw", "-F", self.format, source, target)
        self.expect_read_alike(target)
        if self.stream:
            run(self.tool, "convert", "-n", "-f", "raw", "-O", "vmdk", source, target, status=1)
            return target
        if self.format in ("vdi", "vpc", "vhdx", "qed"):
            run(self.tool, "convert", "-c", "-f", "raw", "-O", self.format, source, self.fresh(), status=1)
        # Into what is there already: more of ours, more of QEMU's, then all of ours again.
        self.qemu_writes(target, 4)
        self.expect_read_alike(target)
        source = self.raw_source()
        run(self.tool, "convert", "-n", "-f", "raw", "-O", self.format, source, target)
        run("qemu-img", "compare", "-f", "raw", "-F", self.format, source, target)
        self.expect_read_alike(target)
        return target

    def overlays(self):
        """qed and vmdk: images over images, of either tool."""
        if self.format not in ("qed", "vmdk") or self.flat or self.stream:
            return
        base = self.fresh()
        run("qemu-img", *self.create_words(base))
        self.qemu_writes(base, 6)
        for tool in (self.tool, "qemu-img"):
            overlay = self.fresh()
            words = [tool, "create", "-q", "-f", self.format, "-b", base, "-F", self.format]
            run(*words, *(["-o", self.options] if self.options else []), overlay)
            self.expect_read_alike(overlay)
            self.qemu_writes(overlay, 4)
            self.expect_read_alike(overlay)
            source = self.raw_source()
            run(self.tool, "convert", "-n", "-f", "raw", "-O", self.format, source, overlay)
            run("qemu-img", "compare", "-f", "raw", "-F", self.format, source, overlay)
            self.expect_read_alike(overlay)
        if self.format == "vmdk":  # its parent changes: then the overlay is void
            self.qemu_writes(base, 1)
            run(self.tool, "convert", "-O", "raw", overlay, self.path("ours.raw"), status=1)

    def resize(self, image):
        if self.format != "qed":
            run(self.tool, "resize", "-f", self.format, image, "+1M", status=1)
            return
        run(self.tool, "resize", "-f", "qed", image, "+1M")
        self.expect_read_alike(image)
        run(self.tool, "resize", "--shrink", "-f", "qed", image, "-1M", status=1)

    def measure(self, image):
        run(self.tool, "measure", "-O", self.format, "-f", self.format, image, status=1)
        run("qemu-img", "measure", "-O", self.format, "-f", self.format, image, status=1)
        expect_equal("measure", *[run(tool, "measure", "-O", "raw", "-f", self.format, image) for tool in (self.tool, "qemu-img")])

    def run_all(self):
        images = self.create_alike()
        self.qemu_writes_ours_reads(images)
        written = self.ours_writes_qemu_reads()
        self.overlays()
        self.measure(written)
        self.resize(written)


def vhdx_log(tool, chance, directory):
    """An image that was left with something in its log: seen replayed, and replayed when written."""
    image = os.path.join(directory, "log.vhdx")
    run("qemu-img", "create", "-f", "vhdx", "-o", "block_size=1M", image, 8 * MIB)
    run("qemu-io", "-f", "vhdx", "-c", "write -P 7 0 3M", image)
    at = json.loads(run(tool, "map", "--output=json", image))[0]["offset"]
    ours, theirs, copy, expected = (os.path.join(directory, name) for name in ("ours.raw", "theirs.raw", "copy.vhdx", "expected.raw"))
    run("qemu-img", "convert", "-O", "raw", image, expected)
    with open(expected, "rb") as file:
        disk = bytearray(file.read())
    with open(image, "r+b") as file:
        file.seek(64 * KIB)
        header = bytearray(file.read(4096))
        log_length, log_offset = struct.unpack_from("<IQ", header, 68)
        log_id = chance.randbytes(16)
        size = os.path.getsize(image)
        around = chance.random() < 0.5  # the ring's end
        start = log_length - 4096 * chance.randrange(1, 5) if around else 4096 * chance.randrange(20)
        entries, place = [], start
        for n in range(3):
            writes = [(at + 4096 * chance.randrange(100), chance.randbytes(4096)) for _ in range(n + 1)]
            zeroes = [(at + MIB + 4096 * chance.randrange(100), 8192)] if n == 1 else []
            for offset, data in writes:
                disk[offset - at:offset - at + 4096] = data
            for offset, length in zeroes:
                disk[offset - at:offset - at + length] = bytes(length)
            entries.append(log_entry(log_id, 10 + n, start, writes, zeroes, size))
        for entry in entries:
            for i in range(0, len(entry), 4096):
                file.seek(log_offset + (place + i) % log_length)
                file.write(entry[i:i + 4096])
            place += len(entry)
        header[48:64] = log_id
        for offset, sequence in ((64 * KIB, 1001), (128 * KIB, 1000)):
            header[8:16] = struct.pack("<Q", sequence)
            file.seek(offset)
            file.write(with_checksum(bytes(header)))
    with open(expected, "wb") as file:
        file.write(disk)
    run(tool, "convert", "-O", "raw", image, ours)
    same_bytes("vhdx with a log", ours, expected)
    run(tool, "check", image, status=2)
    if not around:  # QEMU 7.2 leaves out what is before the ring's end
        shutil.copy(image, copy)
        run("qemu-img", "check", "-r", "all", copy)
        run("qemu-img", "convert", "-O", "raw", copy, theirs)
        same_bytes("vhdx with a log, by QEMU", theirs, expected)
    run(tool, "check", "-r", "all", image)
    run("qemu-img", "check", image)
    run("qemu-img", "convert", "-O", "raw", image, theirs)
    same_bytes("vhdx with its log replayed", theirs, expected)


def probing(tool, directory):
    """Both tools take an image for the same thing without being told."""
    for format_, options, _ in FORMATS:
        image = os.path.join(directory, f"probed.{format_}")
        run("qemu-img", "create", "-q", "-f", format_, *(["-o", options] if options else []), image, MIB)
        names = [json.loads(run(each, "info", "--output=json", image))["format"] for each in (tool, "qemu-img")]
        expect_equal(f"the format of {format_} {options}", *names)
    for text in ("# x\n\n  \nversion=1\n", "version=3\r\n", "version=4\n", "x\nversion=1\n", "#\n"):
        image = os.path.join(directory, "text")
        with open(image, "w", encoding="ascii", newline="") as file:
            file.write(text)
        theirs = subprocess.run(["qemu-img", "info", image], capture_output=True, text=True, timeout=TIME_LIMIT)
        ours = subprocess.run([tool, "info", image], capture_output=True, text=True, timeout=TIME_LIMIT)
        expect_equal(f"taking {text!r} for raw", "file format: raw" in ours.stdout, "file format: raw" in theirs.stdout)


def refused(tool, directory):
    """What is recognised, but not supported: one sentence."""
    cases = {
        "cowd": (b"COWD" + struct.pack("<I", 1) + bytes(2040), "COWD"),
        "sesparse": (struct.pack("<QQ", 0xcafebabe, 0x200000001) + bytes(2032), "SESPARSE"),
        "vmfssparse": (b"version=1\nRW 100 VMFSSPARSE \"x\"\n", "VMFSSPARSE"),
        "noaccess": (b"version=1\nNOACCESS 100 FLAT \"x\" 0\n", "inaccessible"),
        "nothing": (b"version=1\n", "extents"),
    }
    for name, (content, word) in cases.items():
        image = os.path.join(directory, name)
        with open(image, "wb") as file:
            file.write(content)
        done = subprocess.run([tool, "info", "-f", "vmdk", image], capture_output=True, text=True, timeout=TIME_LIMIT)
        if done.returncode != 1 or word not in done.stderr or done.stderr.count("\n") != 1:
            raise AssertionError(f"{name}: {done}")
    for options in ("subformat=nonsense", "adapter_type=x", "compat6=on,hwversion=5", "subformat=monolithicFlat,zeroed_grain=on"):
        run(tool, "create", "-f", "vmdk", "-o", options, os.path.join(directory, "never"), MIB, status=1)
    for format_, options in (("qed", "cluster_size=5000"), ("qed", "table_size=3"), ("vhdx", "block_size=3M"), ("vhdx", "log_size=1000"),
                             ("vpc", "subformat=x"), ("vdi", "static=perhaps")):
        run(tool, "create", "-f", format_, "-o", options, os.path.join(directory, "never"), MIB, status=1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("program")
    arguments = parser.parse_args()
    if not shutil.which("qemu-img") or not shutil.which("qemu-io"):
        print("skipped: qemu-img and qemu-io are not installed")
        sys.exit(77)
    for seed in range(arguments.seed, arguments.seed + arguments.rounds):
        chance = random.Random(seed)
        for format_, options, most_mib in FORMATS:
            with tempfile.TemporaryDirectory() as directory:
                try:
                    Case(arguments.program, chance, directory, format_, options, most_mib).run_all()
                except AssertionError as failure:
                    print(f"seed {seed}, {format_} {options}: {failure}")
                    sys.exit(1)
        with tempfile.TemporaryDirectory() as directory:
            vhdx_log(arguments.program, chance, directory)
            probing(arguments.program, directory)
            refused(arguments.program, directory)
    print(f"{len(FORMATS)} formats and subformats, {arguments.rounds} rounds, seeds from {arguments.seed} on: no difference")


if __name__ == "__main__":
    main()
