#!/usr/bin/env python3
"""Dirty bitmaps and lazy refcounts of qcow2 images: doppel-img and doppel-io take turns with QEMU's tools on one image,
and what each bitmap has as dirty, as qemu-nbd reads it, is held against a model.

usage: bitmap_test.py [--seed N] [--rounds N] DOPPEL-IMG DOPPEL-IO DOPPEL-NBD     exit status 77: skipped, a tool is missing
"""
import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

from commands import run_to_end

KIB, MIB = 1 << 10, 1 << 20


def run(*command, status=0, stdin=None):
    done = run_to_end(*command, status=status, stdin=stdin)
    if status == 1 and "doppel" in command[0] and not (done.stderr.startswith("doppel-img: ") and done.stderr.count("\n") == 1):
        raise AssertionError(f"{command}: failed without one sentence: {done.stderr!r}")
    return done.stdout


def expect_equal(what, ours, expected):
    if ours != expected:
        raise AssertionError(f"{what}: {ours}\nexpected: {expected}")


def dirty_ranges(image, name, server="qemu-nbd"):
    """[(offset, end)] as SERVER tells them."""
    text = run("nbdinfo", f"--map=qemu:dirty-bitmap:{name}", "--", "[", server, "-r", "-f", "qcow2", "-B", name, image, "]")
    ranges = []
    for line in text.splitlines():
        offset, length, kind = (int(word) for word in line.split()[:3])
        if kind & 1:
            ranges.append((offset, offset + length))
    return merged(ranges)


def merged(ranges):
    result = []
    for begin, end in sorted(ranges):
        if result and begin <= result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], end))
        else:
            result.append((begin, end))
    return result


class Bitmap:
    def __init__(self, granularity, enabled=True):
        self.granularity, self.enabled, self.bits = granularity, enabled, set()

    def mark(self, begin, end):
        if begin < end:
            self.bits |= set(range(begin // self.granularity, (end - 1) // self.granularity + 1))

    def ranges(self, size):
        return merged((bit * self.granularity, min((bit + 1) * self.granularity, size)) for bit in self.bits)


class History:
    def __init__(self, tool, io, nbd, chance, directory):
        self.tool, self.io, self.nbd, self.chance = tool, io, nbd, chance
        self.image, self.copy = os.path.join(directory, "image.qcow2"), os.path.join(directory, "copy.qcow2")
        self.cluster = chance.choice([512, 4096, 65536, 65536, 2 * MIB])
        self.size = chance.randrange(2 * MIB, 40 * MIB) // 512 * 512
        self.lazy = chance.random() < 0.5
        options = f"cluster_size={self.cluster},lazy_refcounts={'on' if self.lazy else 'off'}"
        run(self.any_tool(), "create", "-q", "-f", "qcow2", "-o", options, self.image, self.size)
        self.bitmaps = {}
        self.names = 0

    def any_tool(self):
        return self.chance.choice([self.tool, self.tool, "qemu-img"])

    def any_bitmap(self):
        return self.chance.choice(sorted(self.bitmaps)) if self.bitmaps else None

    def write(self):
        words = []
        for _ in range(self.chance.randrange(1, 6)):
            offset = self.chance.randrange(self.size) // 512 * 512
            length = min(self.chance.choice([512, 4096, 100_352, 3 * MIB]), self.size - offset)
            kind = self.chance.choice(["write -P 7", "write -P 7", "write -z", "write -z -u", "discard"])
            if kind == "discard":  # of what is cut through, QEMU may leave out some
                unit = max(self.cluster, 65536)
                offset, length = offset // unit * unit, min(unit, self.size - offset // unit * unit)
                if length < unit:
                    continue
            words += ["-c", f"{kind} {offset} {length}"]
            for bitmap in self.bitmaps.values():
                if bitmap.enabled:
                    bitmap.mark(offset, offset + length)
        if words:
            run(self.chance.choice([self.io, self.io, "qemu-io"]), "-d", "unmap", *words, self.image)

    def add(self):
        if len(self.bitmaps) >= 4:
            return
        self.names += 1
        name, granularity = f"bitmap{self.names}", self.chance.choice([512, 4096, 65536, 1 << 20])
        actions = [["--add", "-g", granularity], ["--add", "-g", granularity, "--disable"]]
        which = self.chance.randrange(2)
        run(self.any_tool(), "bitmap", *actions[which], self.image, name)
        self.bitmaps[name] = Bitmap(granularity, which == 0)

    def change(self):
        name = self.any_bitmap()
        if not name:
            return
        bitmap, words = self.bitmaps[name], []
        for _ in range(self.chance.randrange(1, 4)):
            action = self.chance.choice(["--clear", "--enable", "--disable", "--merge"])
            words.append(action)
            if action == "--merge":
                other = self.any_bitmap()
                words.append(other)
                for begin, end in self.bitmaps[other].ranges(self.size):
                    bitmap.mark(begin, end)
            elif action == "--clear":
                bitmap.bits = set()
            else:
                bitmap.enabled = action == "--enable"
        run(self.any_tool(), "bitmap", *words, self.image, name)

    def merge_from_copy(self):
        """convert --bitmaps, then back from the copy."""
        run(self.any_tool(), "convert", "-O", "qcow2", "--bitmaps", "-o", f"cluster_size={self.chance.choice([512, 65536])}", self.image, self.copy)
        run("qemu-img", "check", self.copy)
        run(self.tool, "check", self.copy)
        for name, bitmap in self.bitmaps.items():
            expect_equal(f"bitmap {name} of the copy", dirty_ranges(self.copy, name), bitmap.ranges(self.size))
        if name := self.any_bitmap():
            other = self.any_bitmap()
            run(self.any_tool(), "bitmap", "--merge", other, "-b", self.copy, "-F", "qcow2", self.image, name)
            for begin, end in self.bitmaps[other].ranges(self.size):
                self.bitmaps[name].mark(begin, end)
        os.remove(self.copy)

    def remove(self):
        if (name := self.any_bitmap()) and self.chance.random() < 0.5:
            run(self.any_tool(), "bitmap", "--remove", self.image, name)
            del self.bitmaps[name]

    def resize(self):
        size = self.chance.choice([self.size + 5 * MIB, self.size + 512, self.size * 3 // 4 // 512 * 512, self.size])
        if size == self.size or self.size > 200 * MIB or size < MIB:
            return
        run(self.any_tool(), "resize", "-q", "--shrink", self.image, size)
        self.size = size
        for bitmap in self.bitmaps.values():
            bits = (size + bitmap.granularity - 1) // bitmap.granularity
            bitmap.bits = {bit for bit in bitmap.bits if bit < bits}

    def snapshot(self):
        run(self.any_tool(), "snapshot", "-c", "one", self.image)
        run(self.any_tool(), "snapshot", "-d", "one", self.image)

    def verify(self):
        run("qemu-img", "check", self.image)
        run(self.tool, "check", self.image)
        infos = [json.loads(run(tool, "info", "--output=json", self.image)) for tool in (self.tool, "qemu-img")]
        expect_equal("info", *infos)
        expect_equal("info", *[run(tool, "info", self.image) for tool in (self.tool, "qemu-img")])
        listed = {entry["name"]: (entry["granularity"], entry["flags"]) for entry in infos[0]["format-specific"]["data"].get("bitmaps", [])}
        expected = {name: (bitmap.granularity, ["auto"] if bitmap.enabled else []) for name, bitmap in self.bitmaps.items()}
        expect_equal("the list of bitmaps", listed, expected)
        for name, bitmap in self.bitmaps.items():
            for server in ("qemu-nbd", self.nbd):
                expect_equal(f"bitmap {name}, served by {server}", dirty_ranges(self.image, name, server), bitmap.ranges(self.size))
        sizes = [json.loads(run(tool, "measure", "--output=json", "-O", "qcow2", self.image)) for tool in (self.tool, "qemu-img")]
        expect_equal("what measure tells of bitmaps", *[size["bitmaps"] for size in sizes])


def random_history(tool, io, nbd, seed, steps):
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="doppel-bitmap-") as directory:
        history = History(tool, io, nbd, chance, directory)
        actions = [history.write] * 4 + [history.add] * 2 + [history.change] * 2 + [history.merge_from_copy, history.remove, history.resize, history.snapshot]
        log = []
        try:
            for _ in range(steps):
                action = chance.choice(actions)
                log.append(action.__name__)
                action()
                if chance.random() < 0.5:
                    history.verify()
            history.verify()
        except Exception:
            print(f"seed {seed}, after {', '.join(log)}")
            raise


def exit_statuses(tool):
    """What scripts rely on: both tools refuse the same."""
    with tempfile.TemporaryDirectory(prefix="doppel-bitmap-") as directory:
        os.chdir(directory)
        run("qemu-img", "create", "-q", "-f", "raw", "raw", "1M")
        run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "compat=0.10", "old", "1M")
        for program in (tool, "qemu-img"):
            run(program, "create", "-q", "-f", "qcow2", "a", "1M")
            run(program, "bitmap", "--add", "a", "one")
            for words in (["--add", "a", "one"], ["--remove", "a", "two"], ["--clear", "a", "two"], ["--enable", "a", "two"],
                          ["--disable", "a", "two"], ["--merge", "two", "a", "one"], ["--merge", "one", "-b", "missing", "a", "one"],
                          ["--merge", "one", "-b", "raw", "-F", "raw", "a", "one"], ["a", "one"], ["--add", "a"], ["--add", "missing", "one"],
                          ["--add", "-g", "1000", "a", "two"], ["--add", "-g", "256", "a", "two"], ["--add", "-g", "4G", "a", "two"],
                          ["--clear", "-g", "4k", "a", "one"], ["--clear", "-b", "a", "a", "one"], ["--add", "-F", "raw", "a", "two"],
                          ["--add", "-f", "raw", "raw", "one"], ["--add", "old", "one"], ["--add", "a", "x" * 1024]):
                run(program, "bitmap", *words, status=1)
            run(program, "snapshot", "-c", "s", "a")
            run(program, "snapshot", "-a", "s", "a", status=1)
            run(program, "convert", "-O", "raw", "--bitmaps", "a", "b", status=1)
            run(program, "convert", "-O", "qcow2", "--skip-broken-bitmaps", "a", "b", status=1)
            run(program, "convert", "-O", "qcow2", "--bitmaps", "a", "a", "b", status=1)
            run(program, "convert", "-f", "raw", "-O", "qcow2", "--bitmaps", "raw", "b", status=1)
            run(program, "bitmap", "--remove", "a", "one")
            run("qemu-img", "check", "a")


def broken_directory(tool, io):
    """It keeps nobody from the disk for longer than a repair takes."""
    with tempfile.TemporaryDirectory(prefix="doppel-bitmap-") as directory:
        os.chdir(directory)
        run(tool, "create", "-q", "-f", "qcow2", "a", "8M")
        run(tool, "bitmap", "--add", "a", "one")
        run(io, "-c", "write -P 1 0 1M", "a")
        with open("a", "r+b") as file:
            file.seek(112 + 8)
            file.write(bytes([0, 1, 0, 0]))  # 65536 bitmaps
        run(tool, "info", "a", status=1)
        run(tool, "check", "a", status=2)
        run(tool, "check", "-r", "all", "a")
        run("qemu-img", "check", "a")
        if "Pattern verification failed" in run(io, "-c", "read -P 1 0 1M", "a"):
            raise AssertionError("the disk's contents are lost")


def write_and_die(io, image, *commands):
    """Killed when the last command, which writes, has been carried out."""
    process = subprocess.Popen([io, image], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdin.write("".join(command + "\n" for command in commands))
    process.stdin.flush()
    left = sum(command.startswith("write") for command in commands)
    while left > 0:
        line = process.stdout.readline()
        if not line:
            raise AssertionError(f"{io} ended before it was killed")
        left -= "ops; " in line
    process.kill()
    process.wait()
    process.stdout.close()
    process.stdin.close()


def kills(tool, io):
    """A program that dies leaves bitmaps that say so, and refcounts that are counted again; what was flushed stays."""
    with tempfile.TemporaryDirectory(prefix="doppel-bitmap-") as directory:
        os.chdir(directory)
        run(tool, "create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on", "a", "8M")
        run(tool, "bitmap", "--add", "a", "live")
        run(tool, "bitmap", "--add", "--disable", "a", "kept")
        run(tool, "bitmap", "--merge", "live", "a", "kept")
        write_and_die(io, "a", "write -P 1 0 1M", "flush", "write -P 2 2M 64k")
        info = json.loads(run(tool, "info", "--output=json", "a"))
        flags = {entry["name"]: entry["flags"] for entry in info["format-specific"]["data"]["bitmaps"]}
        expect_equal("flags after a kill", flags, {"live": ["in-use", "auto"], "kept": []})
        if not info["dirty-flag"]:
            raise AssertionError("lazy refcounts, and the image is not marked as dirty")
        shutil.copy("a", "b")
        shutil.copy("a", "c")
        for name in ("--clear", "--enable", "--disable"):
            run(tool, "bitmap", name, "c", "live", status=1)
        run(tool, "bitmap", "--merge", "live", "c", "kept", status=1)
        run(tool, "convert", "-O", "qcow2", "--bitmaps", "c", "d", status=1)
        run(tool, "convert", "-O", "qcow2", "--bitmaps", "--skip-broken-bitmaps", "c", "d")
        expect_equal("bitmaps of the copy", [entry["name"] for entry in json.loads(run("qemu-img", "info", "--output=json", "d"))["format-specific"]["data"]["bitmaps"]], ["kept"])
        run("qemu-img", "check", "-r", "all", "a")
        run(tool, "check", "-r", "all", "b")
        run(tool, "bitmap", "--remove", "c", "live")
        for image in ("a", "b", "c"):
            run("qemu-img", "check", image)
            run(tool, "check", image)
            if "Pattern verification failed" in run(io, "-c", "read -P 1 0 1M", image):
                raise AssertionError("what was flushed is lost")
            expect_equal("a bitmap that records nothing", dirty_ranges(image, "kept"), [])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=14)
    parser.add_argument("img")
    parser.add_argument("io")
    parser.add_argument("nbd")
    arguments = parser.parse_args()
    for needed in ("qemu-img", "qemu-io", "qemu-nbd", "nbdinfo"):
        if not shutil.which(needed):
            print(f"skipped: {needed} is not installed")
            sys.exit(77)
    tool, io, nbd = (os.path.abspath(path) for path in (arguments.img, arguments.io, arguments.nbd))
    exit_statuses(tool)
    broken_directory(tool, io)
    kills(tool, io)
    for seed in range(arguments.seed, arguments.seed + arguments.rounds):
        random_history(tool, io, nbd, seed, arguments.steps)
    print(f"{arguments.rounds} random histories, seeds from {arguments.seed} on: no difference")


main()
