#!/usr/bin/env python3
"""kill_test.py PROGRAM GUESTS [--rounds N] [--seed N]: machines that die in the middle of writing.

A guest writes files, each with an fsync before it says so on its serial port; the machine is killed (SIGKILL) at a random
moment. The image must then be in order for qemu-img, its file system for e2fsck, and every file that the guest spoke of
must be there with its checksum. The next round goes on with the same image. Exit status 77, with the reason, where
something is missing."""
import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

import disk_image
from terminal import Terminal

# Files of some KiB, named after what is in them, and spoken of when fsync has made them durable.
WRITER = """#!/bin/sh
n=$1
while :; do
  n=$((n + 1))
  dd if=/dev/urandom of=/root/new bs=1k count=$((n % 23 + 1)) 2>/dev/null
  sum=$(md5sum < /root/new | cut -c 1-32)
  dd if=/root/new of=/mnt/$n-$sum bs=64k conv=fsync 2>/dev/null
  echo "synced $n-$sum."
  [ $n -gt 40 ] && rm -f /mnt/$((n - 40))-*
done
"""
FIRST_SECONDS = 0.05
LAST_SECONDS = 2.0
KEPT = 30  # of the files spoken of, the newest, that are looked for; the writer removes older ones
DEVICES = {
    "ide": ["-device", "ide-hd,drive=data,bus=ide.0,unit=1"],
}


def make_system(guests, path, work):
    guest = disk_image.Guest(guests)
    make_tree = guest.make_tree

    def with_writer(scratch, root):
        tree = make_tree(scratch, root)
        disk_image.write(os.path.join(tree, "root/writer"), WRITER, 0o755)
        return tree
    guest.make_tree = with_writer
    disk_image.make_disk(guest, work, path, spare_size=disk_image.MIB)


def make_data(path):
    """An empty ext4 in a qcow2 image."""
    raw = path + ".raw"
    with open(raw, "wb") as file:
        file.truncate(64 * disk_image.MIB)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", raw], check=True, stderr=subprocess.PIPE)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, path], check=True)
    os.remove(raw)


def write_until_killed(program, system, data, device, chance, first):
    """The names the guest spoke of."""
    arguments = ["-drive", f"file={system},format=raw,snapshot=on",
                 "-drive", f"if=none,id=data,file={data},format=qcow2", *DEVICES[device]]
    with Terminal(program, arguments) as guest:
        guest.log_in()
        guest.run("mount /dev/disk-b /mnt")
        guest.type(f"/root/writer {first}")
        guest.wait_for("synced ")
        end = time.monotonic() + chance.uniform(FIRST_SECONDS, LAST_SECONDS)
        while (left := end - time.monotonic()) > 0:
            guest.more(left)
        guest.process.kill()
        guest.process.wait()
        while guest.more():
            pass
        return re.findall(r"synced (\d+-[0-9a-f]{32})\.", guest.text)


def wait_for_lock(path):
    """The kernel lets go of a dead process's io_uring, and of the files in it, some time after the process is gone."""
    for _ in range(100):
        probe = subprocess.run(["qemu-img", "info", path], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
        if b"lock" not in probe.stderr:
            return
        time.sleep(0.1)


def judge(data, names):
    """What is wrong after the kill; empty if nothing."""
    wait_for_lock(data)
    check = subprocess.run(["qemu-img", "check", "-f", "qcow2", data], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           check=False)
    if check.returncode not in (0, 3):  # 3: leaked clusters alone
        return f"qemu-img check: {check.stdout.decode()}"
    raw = data + ".raw"
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", data, raw], check=True)
    # What mounting would do first; whatever is left then is damage.
    subprocess.run(["e2fsck", "-p", "-E", "journal_only", raw], check=False, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    fsck = subprocess.run(["e2fsck", "-f", "-n", raw], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if fsck.returncode != 0:
        return f"e2fsck: {fsck.stdout.decode()}"
    for name in names[-KEPT:]:
        found = subprocess.run(["debugfs", "-R", f"cat /{name}", raw], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               check=True).stdout
        sum_of_file = subprocess.run(["md5sum"], input=found, stdout=subprocess.PIPE, check=True).stdout[:32].decode()
        if name.partition("-")[2] != sum_of_file:
            return f"{name} is not what was written: {len(found)} bytes"
    os.remove(raw)
    return ""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("guests")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--device", choices=sorted(DEVICES), default="ide")
    arguments = parser.parse_args()
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    seed = arguments.seed if arguments.seed is not None else random.randrange(1 << 32)
    chance = random.Random(seed)
    print(f"seed {seed}")
    try:
        disk_image.need([shutil.which(name) for name in ("qemu-img", "e2fsck", "debugfs")])
        with tempfile.TemporaryDirectory(prefix="doppel-kill-test-", dir=".") as work:
            system, data = os.path.join(work, "system.img"), os.path.join(work, "data.qcow2")
            with tempfile.TemporaryDirectory() as scratch:
                make_system(arguments.guests, system, scratch)
            make_data(data)
            spoken, names = 0, []
            for number in range(1, arguments.rounds + 1):
                first = int(names[-1].partition("-")[0]) + 1000 if names else 0
                names = write_until_killed(arguments.program, system, data, arguments.device, chance, first)
                spoken += len(names)
                if wrong := judge(data, names):
                    print(f"round {number}, seed {seed}: {wrong}")
                    sys.exit(1)
            print(f"{arguments.rounds} kills, {spoken} files made durable, all of the last ones intact")
    except disk_image.Missing as missing:
        print(f"skipped: {missing}; scripts/fetch-guest gets the guest")
        sys.exit(77)


main()
