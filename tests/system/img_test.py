#!/usr/bin/env python3
"""doppel-img against qemu-img: the same commands on two images, each tool reading what the other has written.

usage: img_test.py [--seed N] [--rounds N] PROGRAM     exit status 77: skipped, no qemu-img or qemu-io
"""
import argparse
import json
import os
import random
import shutil
import sys
import tempfile

from commands import run_to_end

MIB = 1 << 20


def run(*command, status=0):
    """Standard output; the exit status must be as expected, and a failure must be told in words."""
    done = run_to_end(*command, status=status)
    if status == 1 and not done.stdout and not done.stderr.startswith(("doppel-img: ", "qemu-img: ")):
        raise AssertionError(f"{command}: failed without a sentence: {done.stderr!r}")
    return done.stdout


def expect_equal(what, ours, theirs):
    if ours != theirs:
        raise AssertionError(f"{what} differs\n--- doppel-img\n{ours}\n--- qemu-img\n{theirs}")


class Pair:
    """Two images with one history: OURS was made by doppel-img, THEIRS by qemu-img."""

    def __init__(self, tool, chance, directory):
        self.tool, self.chance, self.directory = tool, chance, directory
        self.ours, self.theirs = (os.path.join(directory, name) for name in ("ours.qcow2", "theirs.qcow2"))
        self.base = None
        self.snapshots = []
        self.create()

    def both(self, *arguments, compare_output=True):
        """The same command by each tool on its own image; outputs are compared with the names taken out."""
        outputs = []
        for tool, image in ((self.tool, self.ours), ("qemu-img", self.theirs)):
            words = [image if word == "IMAGE" else word for word in arguments]
            outputs.append(run(tool, *words).replace(image, "IMAGE"))
        if compare_output:
            expect_equal(" ".join(map(str, arguments)), *outputs)
        return outputs

    def create(self):
        self.cluster = self.chance.choice([512, 4096, 65536, 65536, 2 * MIB])
        options = [f"cluster_size={self.cluster}"]
        self.version2 = self.chance.random() < 0.2
        self.extended = not self.version2 and self.cluster >= 16384 and self.chance.random() < 0.3
        self.refcount_bits = 16 if self.version2 else self.chance.choice([8, 16, 16, 32, 64])
        if self.version2:
            options.append("compat=0.10")
        else:
            options.append(f"refcount_bits={self.refcount_bits}")
            options.append("compression_type=" + self.chance.choice(["zlib", "zstd"]))
            options.append("lazy_refcounts=" + self.chance.choice(["on", "off"]))
        if self.extended:
            options.append("extended_l2=on")
        self.size = self.chance.randrange(2 * MIB, 6 * MIB) // 512 * 512
        words = ["create", "-f", "qcow2", "-o", ",".join(options)]
        if self.chance.random() < 0.4:
            self.base = os.path.join(self.directory, "base.qcow2")
            run("qemu-img", "create", "-q", "-f", "qcow2", self.base, self.size * 3 // 4 // 512 * 512)
            run("qemu-io", "-c", "write -P 0xb5 64k 1M", self.base)
            words += ["-b", self.base, "-F", "qcow2"]
        self.both(*words, "IMAGE", self.size)
        infos = [json.loads(text) for text in self.both("info", "--output=json", "IMAGE", compare_output=False)]
        for info in infos:
            del info["actual-size"]
        expect_equal("info", *infos)

    def write(self):
        commands = []
        for _ in range(self.chance.randrange(1, 8)):
            offset = self.chance.randrange(self.size) // 512 * 512
            length = min(self.chance.choice([512, 4096, 100_352, 400_384]), self.size - offset)
            if self.chance.random() < 0.5:  # on the borders of clusters
                offset, length = offset // 65536 * 65536, (length + 65535) // 65536 * 65536
            length = min(length, self.size - offset)
            if self.chance.random() < 0.2:
                commands += ["-c", f"write -z {self.chance.choice(['', '-u'])} {offset} {length}"]
            elif self.chance.random() < 0.15:
                commands += ["-c", f"discard {offset} {length}"]
            else:
                commands += ["-c", f"write -P {self.chance.randrange(1, 256)} {offset} {length}"]
        for image in (self.ours, self.theirs):
            run("qemu-io", "-d", "unmap", *commands, image)

    def snapshot(self):
        name = f"snap{len(self.snapshots)}"
        self.both("snapshot", "-c", name, "IMAGE")
        self.snapshots.append(name)
        tables = self.both("snapshot", "-l", "IMAGE", compare_output=False)
        names = [[line.split()[:2] for line in table.splitlines()[2:]] for table in tables]
        expect_equal("snapshot -l", *names)

    def apply(self):
        if self.snapshots:
            self.both("snapshot", "-a", self.chance.choice(self.snapshots), "IMAGE")
            self.size = json.loads(run("qemu-img", "info", "--output=json", self.theirs))["virtual-size"]

    def delete(self):
        if self.snapshots:
            gone = self.snapshots.pop(self.chance.randrange(len(self.snapshots)))
            self.both("snapshot", "-d", gone, "IMAGE")

    def resize(self):
        if self.version2 and self.snapshots:
            run(self.tool, "resize", self.ours, "+1M", status=1)
            return
        if self.chance.random() < 0.7 or self.snapshots:
            self.both("resize", "IMAGE", "+1M")
            self.size += MIB
        elif self.size > 3 * MIB:
            self.both("resize", "--shrink", "IMAGE", "-1M")
            self.size -= MIB

    def convert(self):
        options = self.chance.choice([[], ["-c"], ["-W", "-m", "3"], ["-o", "cluster_size=4k"], ["-o", "compat=0.10", "-c"]])
        copy = os.path.join(self.directory, "copy")
        for image in (self.ours, self.theirs):
            run(self.tool, "convert", "-O", "qcow2", *options, image, copy + ".qcow2")
            run("qemu-img", "check", copy + ".qcow2")
            run("qemu-img", "compare", image, copy + ".qcow2")
        run("qemu-img", "convert", "-O", "qcow2", *options, self.ours, copy + "2.qcow2")
        run(self.tool, "check", copy + "2.qcow2")
        run(self.tool, "compare", self.ours, copy + "2.qcow2")
        run(self.tool, "convert", "-O", "raw", copy + "2.qcow2", copy + ".raw")
        run("qemu-img", "compare", "-f", "raw", copy + ".raw", self.theirs)
        if not self.base:
            self.both("measure", "-O", "raw", "IMAGE")

    def rebase(self):
        if self.base and self.chance.random() < 0.5:
            self.both("rebase", "-b", "", "IMAGE")
            self.base = None

    def commit(self):
        """On copies: what both tools make of the base must be the same."""
        if not self.base or self.snapshots:
            return
        results = []
        for tool, image in ((self.tool, self.ours), ("qemu-img", self.theirs)):
            base, overlay = (os.path.join(self.directory, name) for name in (f"cb{len(results)}", f"co{len(results)}"))
            shutil.copy(self.base, base)
            shutil.copy(image, overlay)
            run("qemu-img", "rebase", "-u", "-b", base, "-F", "qcow2", overlay)
            run(tool, "commit", "-q", overlay)
            run("qemu-img", "check", base)
            run("qemu-img", "check", overlay)
            run("qemu-img", "compare", base, image)
            results.append(base)
        run(self.tool, "compare", *results)

    def dd(self):
        """The whole, a part, nothing; the outputs of both tools must be the same."""
        words = self.chance.choice([[], [f"bs={self.chance.choice(['1000', '4k', '300k'])}", f"count={self.chance.randrange(30)}",
                                         f"skip={self.chance.randrange(20)}"]])
        outputs = [os.path.join(self.directory, name) for name in ("dd.ours", "dd.theirs")]
        for tool, output in zip((self.tool, "qemu-img"), outputs):
            run(tool, "dd", "-O", self.chance.choice(["raw", "qcow2"]), *words, f"if={self.ours}", f"of={output}")
        sizes = [json.loads(run("qemu-img", "info", "--output=json", output))["virtual-size"] for output in outputs]
        expect_equal("dd's sizes", *sizes)
        run("qemu-img", "compare", *outputs)
        for output in outputs:
            os.remove(output)

    def verify(self):
        run("qemu-img", "check", self.ours)
        run(self.tool, "check", self.theirs)
        run(self.tool, "check", self.ours)
        run("qemu-img", "compare", self.ours, self.theirs)
        expect_equal("compare", run(self.tool, "compare", self.ours, self.theirs), "Images are identical.\n")
        if not self.extended and self.size % self.cluster == 0:
            maps = [json.loads(run(tool, "map", "--output=json", self.theirs)) for tool in (self.tool, "qemu-img")]
            expect_equal("map", *[merge_map(entries) for entries in maps])
        ours, theirs = (json.loads(run(tool, "check", "--output=json", self.theirs)) for tool in (self.tool, "qemu-img"))
        for result in (ours, theirs):
            result.pop("fragmented-clusters", None)
        expect_equal("check", ours, theirs)


def merge_map(entries):
    """What QEMU splits at ends of tables, and where the last cluster goes beyond the file, is one piece here."""
    merged = []
    for entry in entries:
        key = (entry["depth"], entry["present"], entry["data"])
        offset = entry.get("offset")
        if merged and merged[-1][0] == key and (offset is None) == (merged[-1][3] is None) and (
                offset is None or merged[-1][3] + merged[-1][2] == offset):
            merged[-1][2] += entry["length"]
        else:
            merged.append([key, entry["start"], entry["length"], offset])
    return merged


def random_history(tool, seed, steps):
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="doppel-img-") as directory:
        pair = Pair(tool, chance, directory)
        actions = [pair.write] * 4 + [pair.snapshot, pair.apply, pair.delete, pair.resize, pair.convert, pair.rebase, pair.commit, pair.dd]
        log = []
        try:
            for _ in range(steps):
                action = chance.choice(actions)
                log.append(action.__name__)
                action()
                if action.__name__ != "write":
                    pair.verify()
        except Exception:
            print(f"seed {seed}, after {', '.join(log)}")
            raise


def exit_statuses(tool):
    """What scripts rely on."""
    with tempfile.TemporaryDirectory(prefix="doppel-img-") as directory:
        os.chdir(directory)
        for program in (tool, "qemu-img"):
            run(program, "create", "-q", "-f", "qcow2", "a.qcow2", "1M")
            run(program, "create", "-q", "-f", "raw", "a.raw", "1M")
            run("qemu-io", "-f", "raw", "-c", "write 512 512", "a.raw")
            run(program, "compare", "a.qcow2", "a.raw", status=1)
            run(program, "compare", "a.qcow2", "missing", status=2)
            run(program, "check", "-f", "raw", "a.raw", status=63)
            run(program, "check", "missing", status=1)
            run(program, "info", "missing", status=1)
            run(program, "resize", "a.qcow2", "512k", status=1)
            run(program, "create", "-f", "qcow2", "-b", "a.raw", "b.qcow2", status=1)
            run(program, "create", "-f", "qcow2", "-o", "cluster_size=3000", "b.qcow2", "1M", status=1)
            run(program, "snapshot", "-d", "missing", "a.qcow2", status=1)
            for operands in (["if=a.raw"], ["of=b.raw"], ["if=a.raw", "of=b.raw", "bs=0"], ["if=a.raw", "of=b.raw", "count=x"],
                             ["if=a.raw", "of=b.raw", "to=1"], ["if=missing", "of=b.raw"]):
                run(program, "dd", *operands, status=1)
            with open("a.qcow2", "r+b") as image:  # a leak, then a cluster in use that is counted as free
                image.truncate(11 * 65536)
                image.seek(2 * 65536 + 2 * 10)
                image.write(b"\0\1")
            run(program, "check", "a.qcow2", status=3)
            run(program, "check", "-r", "leaks", "a.qcow2")
            with open("a.qcow2", "r+b") as image:
                image.seek(2 * 65536 + 2 * 3)
                image.write(b"\0\0")
            run(program, "check", "a.qcow2", status=2)
            run(program, "check", "-r", "all", "a.qcow2")
            run("qemu-img", "check", "a.qcow2")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("program")
    arguments = parser.parse_args()
    if not shutil.which("qemu-img") or not shutil.which("qemu-io"):
        print("skipped: qemu-img and qemu-io (qemu-utils) are not installed")
        sys.exit(77)
    tool = os.path.abspath(arguments.program)
    exit_statuses(tool)
    for seed in range(arguments.seed, arguments.seed + arguments.rounds):
        random_history(tool, seed, arguments.steps)
    print(f"{arguments.rounds} random histories, seeds from {arguments.seed} on: no difference")


main()
