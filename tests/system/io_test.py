#!/usr/bin/env python3
"""doppel-io against qemu-io: the same commands on two images, output and exit status compared without times and rates.

usage: io_test.py DOPPEL_IO     exit status 77: skipped, no qemu-io
"""
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile

TIME_LIMIT = 60

# Sessions of commands, each on a new qcow2 image of 1 MiB with 64 KiB at 256k written.
SESSIONS = [
    ["write -P 7 4k 64k", "read -P 7 4k 64k", "read -P 8 4k 4k", "map", "alloc 0 1M", "alloc 64k", "length", "info"],
    ["read -v 262140 20", "read -v 0 16", "write -P 0x41 100 33", "read -v 96 40", "read -q 0 512", "read -C 0 4k"],
    ["write -P 7 8k 4k", "read -P 7 -s 4k -l 4k 4k 12k", "read -P 7 -s 4k 4k 8k", "read -P 7 -l 4k 8k 8k", "read -P 7 -s 3k -l 2k 4k 4k"],
    ["write -z 0 64k", "write -z -u 64k 64k", "write -f -P 2 0 512", "write -z -P 3 0 512", "write -u 0 512", "write -c -P 9 512k 64k",
     "read -P 9 512k 64k"],
    ["aio_write -P 3 0 4k", "aio_flush", "aio_read -P 3 0 4k", "aio_flush", "aio_read -P 4 0 1k 3k", "aio_flush"],
    ["writev -P 6 0 512 1k 4k", "readv -P 6 0 1k 1k", "readv -v 5632 16", "readv -P 6 0 8k"],
    ["discard 256k 64k", "read -P 0 256k 64k", "flush", "truncate 2M", "length", "truncate 1.5M", "length"],
    ["read 0", "read", "read x 1", "read 1M 512", "write 1048575 2", "read 0 4G", "read -P 300 0 512", "foo", "alloc", "truncate", "discard 1M 512"],
    ["close", "length", "close", "open IMAGE", "open IMAGE", "length", "reopen -r", "write 0 512", "reopen -w", "write -P 1 0 512", "read -P 1 0 512"],
    ["length", "quit", "length"], ["q"], ["sleep 5", "r 0 512", "w 0 512", "d 0 512", "l", "f", "i"], ["read 0 0", "write 0 0", "", "   length   "],
]


def run(*command, text=None):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, input=text, timeout=TIME_LIMIT)
    return done.returncode, done.stdout, done.stderr


def must(*command):
    status, out, error = run(*command)
    if status != 0:
        raise AssertionError(f"{command}: {status}\n{out}{error}")
    return out


def comparable(output, image):
    """Without what differs from run to run, and without usage lines and prompts, which have words of their own."""
    output = re.sub(r"; \d\d\.\d\d sec \(.*\)", "; TIME", output)
    output = re.sub(r"^(\d+,\d+),\d+:\d\d:\d\d.*", r"\1,TIME", output, flags=re.M)
    return re.sub(r"(qemu|doppel)-io> ", "", output).replace(image, "IMAGE")


def without_usage(output):
    return "\n".join(line for line in output.splitlines() if " -- " not in line or line.startswith("Parsing"))


def both(program, options, commands, text=None):
    results = []
    for tool in (program, "qemu-io"):
        image = f"{os.path.basename(tool)}.qcow2"
        shutil.copy("start.qcow2", image)
        words = [word for command in commands for word in ("-c", command.replace("IMAGE", image))]
        status, out, error = run(tool, *options, *words, image, text=text and text.replace("IMAGE", image))
        results.append((status, without_usage(comparable(out, image)), bool(error)))
    if results[0] != results[1]:
        raise AssertionError(f"{options} {commands} {text!r}\n--- doppel-io\n{results[0]}\n--- qemu-io\n{results[1]}")
    must("qemu-img", "compare", "doppel-io.qcow2", "qemu-io.qcow2")
    must("qemu-img", "check", "doppel-io.qcow2")


def random_commands(chance):
    commands = []
    for _ in range(30):
        offset, length = chance.randrange(1 << 20), chance.choice([1, 100, 512, 4096, 70_000])
        length = min(length, (1 << 20) - offset)
        pattern = chance.randrange(256)
        commands.append(chance.choice([f"write -P {pattern} {offset} {length}", f"read -P {pattern} {offset} {length}",
                                       f"write -z {offset} {length}", f"aio_write -P {pattern} {offset} {length}", "aio_flush",
                                       f"writev -P {pattern} {offset} {length // 2} {length - length // 2}", f"read -v {offset} {min(length, 50)}",
                                       f"write -z -u {offset // 65536 * 65536} 65536", f"discard {offset // 65536 * 65536} 65536", "length", "flush"]))
        if commands[-1].startswith("aio"):
            commands.append("aio_flush")
    return commands


def options_and_files(program):
    must("qemu-img", "create", "-q", "-f", "raw", "plain.raw", "1M")
    with open("pattern", "wb") as file:
        file.write(b"abc")
    for tool in (program, "qemu-io"):
        must(tool, "-f", "raw", "-c", "write -s pattern 1000 10", "-c", "read -P 0 0 1000", "plain.raw")
        with open("plain.raw", "rb") as file:
            contents = file.read()
        if contents[1000:1012] != b"abcabcabca\0\0":
            raise AssertionError(f"{tool}: {contents[990:1020]}")
        before = must("md5sum", "start.qcow2")
        must(tool, "-s", "-c", "write -P 1 0 1M", "-c", "read -P 1 0 1M", "start.qcow2")
        for words in (["missing"], ["-r", "-c", "write 0 512", "start.qcow2"], ["-f", "qcow2", "plain.raw"], ["-c", "read 0 512"]):
            if run(tool, *words, text="")[0] != 1:
                raise AssertionError(f"{tool} {words}: no failure")
        if must("md5sum", "start.qcow2") != before:
            raise AssertionError(f"{tool}: the image has changed")


def main():
    program = os.path.abspath(sys.argv[1])
    if not shutil.which("qemu-io"):
        print("skipped: qemu-io (qemu-utils) is not installed")
        sys.exit(77)
    with tempfile.TemporaryDirectory(prefix="doppel-io-", dir=".") as directory:
        os.chdir(directory)
        must("qemu-img", "create", "-q", "-f", "qcow2", "start.qcow2", "1M")
        must("qemu-io", "-c", "write -P 5 256k 64k", "start.qcow2")
        for session in SESSIONS:
            both(program, ["-d", "unmap"], session)
        both(program, ["-r"], ["read 0 512", "length"])
        both(program, ["-t", "writethrough"], ["write 0 512", "length"])
        both(program, [], ["discard 256k 64k", "read -P 0 256k 64k"])
        both(program, ["-d", "ignore"], ["discard 256k 64k", "read -P 5 256k 64k"])
        both(program, [], [], text="length\nread 0 512\nq\nlength\n")
        both(program, [], [], text="length\nread 0 512\nwrite 0 x\n")
        for seed in range(8):
            both(program, ["-d", "unmap"], random_commands(random.Random(seed)))
        options_and_files(program)
        os.chdir("..")
    print(f"{len(SESSIONS)} sessions and 8 random ones: no difference")


main()
