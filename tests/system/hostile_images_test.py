#!/usr/bin/env python3
"""Hostile disk images: whatever is in them, doppel-img ends soon, in little memory, with a sentence or a result.

usage: hostile_images_test.py [--all] [--sample N] [--format F] [--only TEXT] [--keep FOLDER] [--slow] PROGRAM

Without --all a sample of each format's images. --slow, for programs built with sanitizers: neither time nor memory
counts. --keep leaves the images that failed.
"""
import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

SECONDS = 1.0  # of processor time
PATIENCE = 20  # seconds of waiting, on a busy host
MORE_KIB = 64 << 10  # above what a run with a sound image takes
OUTPUT_LIMIT = 64 << 20


def start(command, directory):
    pid = os.fork()
    if pid:
        return pid
    try:
        os.chdir(directory)
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        os.dup2(os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (OUTPUT_LIMIT, OUTPUT_LIMIT))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.execv(command[0], command)
    finally:
        os._exit(99)


def launcher():
    """A process of its own, small, as a program's peak memory begins with that of who started it: runs what it is told."""
    for line in sys.stdin:
        command, directory, patience = json.loads(line)
        pid = start(command, directory)
        end = time.monotonic() + patience
        while True:
            done, status, usage = os.wait4(pid, os.WNOHANG)
            if done or time.monotonic() > end:
                break
            time.sleep(0.001)
        if not done:
            os.kill(pid, signal.SIGKILL)
            os.wait4(pid, 0)
            print(json.dumps(None), flush=True)
        else:
            print(json.dumps([os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss]), flush=True)


def write_sparse(path, content):
    with open(path, "wb") as file:
        for offset in range(0, len(content), 65536):
            piece = content[offset:offset + 65536]
            if piece.count(0) != len(piece):
                file.seek(offset)
                file.write(piece)
        file.truncate(len(content))


class Runner:
    def __init__(self, tool, slow):
        self.tool, self.slow = os.path.abspath(tool), slow
        self.base_kib = 0
        self.worst_seconds, self.worst_kib = (0.0, ""), (0, "")
        self.runs = self.successes = 0
        self.local = threading.local()

    def run(self, words, directory):
        """Exit status or minus the signal, processor seconds, peak KiB; None: it hangs."""
        if not hasattr(self.local, "launcher"):
            self.local.launcher = subprocess.Popen([sys.executable, __file__, "--launcher", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        patience = PATIENCE * (5 if self.slow else 1)
        self.local.launcher.stdin.write(json.dumps([[self.tool, *words], directory, patience]) + "\n")
        self.local.launcher.stdin.flush()
        return json.loads(self.local.launcher.stdout.readline())

    def judge(self, words, name, directory):
        """What is wrong, or nothing."""
        what = f"{name}: {' '.join(words)}: "
        outcome = self.run(words, directory)
        if outcome is None:
            return what + "it hangs"
        status, seconds, kib = outcome
        with open(os.path.join(directory, "said"), "rb") as file:
            said = file.read(1 << 20)
        self.runs += 1
        self.successes += status == 0
        self.worst_seconds = max(self.worst_seconds, (seconds, what))
        self.worst_kib = max(self.worst_kib, (kib - self.base_kib, what))
        expected = (0, 1, 2, 3, 63) if words[0] == "check" else (0, 1)
        if status not in expected:
            return what + f"status {status}: {said[-600:]!r}"
        if status == 1 and not (said.startswith(b"doppel-img: ") and said.count(b"\n") == 1 and said.endswith(b"\n")):
            return what + f"no single sentence: {said[:600]!r}"
        if any(byte < 32 and byte != 10 or byte == 127 for byte in said):
            return what + f"control characters: {said[:600]!r}"
        if not self.slow and seconds > SECONDS:
            return what + f"{seconds:.2f} s"
        if not self.slow and kib - self.base_kib > MORE_KIB:
            return what + f"{kib - self.base_kib} KiB more than a sound image"
        return None

    def all_commands(self, name, format_, make, keep):
        files = make()
        with tempfile.TemporaryDirectory() as directory:
            for file_name, content in files.items():
                write_sparse(os.path.join(directory, file_name), content)
            os.mkfifo(os.path.join(directory, "FIFO"))
            image = next(iter(files))
            failures = []
            for words in (["info", image], ["info", "-f", format_, image], ["check", "-f", format_, image], ["convert", "-f", format_, "-O", "raw", image, "out"]):
                failures.append(self.judge(words, name, directory))
            failures = [failure for failure in failures if failure]
            if failures and keep:
                folder = os.path.join(keep, name.replace("/", "_")[:100])
                os.makedirs(folder, exist_ok=True)
                for file_name, content in files.items():
                    write_sparse(os.path.join(folder, file_name), content)
            return failures


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--sample", type=int, default=60)
    parser.add_argument("--format", choices=["qcow2", "qed", "vdi", "vhdx", "vmdk", "vpc"])
    parser.add_argument("--only", default="")
    parser.add_argument("--keep")
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("--launcher", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("program")
    arguments = parser.parse_args()
    if arguments.launcher:
        launcher()
        return
    import hostile_images  # not in a launcher, to keep that small

    runner = Runner(arguments.program, arguments.slow)
    with tempfile.TemporaryDirectory() as directory:
        with open(os.path.join(directory, "sound"), "wb") as file:
            file.truncate(1 << 20)
        runner.base_kib = runner.run(["info", "sound"], directory)[2]
    failures = []
    for format_ in [arguments.format] if arguments.format else hostile_images.FORMATS:
        images = list(hostile_images.corpus(arguments.program, format_))
        if len(images) < 200:
            failures.append(f"only {len(images)} images of {format_}")
        chosen = [image for image in images if arguments.only in image[0]]
        if not arguments.all and not arguments.only:
            chosen = random.Random(1).sample(chosen, min(arguments.sample, len(chosen)))
        before = len(failures)
        runner.runs = runner.successes = 0
        with ThreadPoolExecutor(2) as pool:
            for found in pool.map(lambda image: runner.all_commands(image[0], format_, image[1], arguments.keep), chosen):
                failures += found
        print(f"{format_}: {len(chosen)} of {len(images)} images, {runner.runs} runs, {runner.successes} with success, {len(failures) - before} failures", flush=True)
    print(f"longest {runner.worst_seconds[0]:.2f} s ({runner.worst_seconds[1]}), largest {runner.worst_kib[0]} KiB ({runner.worst_kib[1]})")
    for failure in failures[:40]:
        print(failure)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
