#!/usr/bin/env python3
"""werror_test.py PROGRAM GUESTS [CASE...]: a host that runs out of disk space under a guest.

A qcow2 image lies on a file system that fills up while the guest writes. The machine must pause and say why; once there
is space it must go on by SIGCONT, and what the guest wrote must be whole. Needs to be root, for a small tmpfs. Exit
status 77, with the reason, where something is missing."""
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import disk_image
from terminal import PROMPT, Terminal

PROGRAM, GUESTS = sys.argv[1:3]
PAUSED = "the guest is paused"
WORK = None  # a directory with system.img
FULL = None  # a tmpfs of a few MiB


def make_data(name):
    path = os.path.join(FULL, name)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "64M"], check=True)
    return path


class Werror(unittest.TestCase):
    drive = "ide0-hd1"
    name = "/dev/disk-b"
    options = ()
    devices = ()

    def tearDown(self):
        for name in os.listdir(FULL):
            os.unlink(os.path.join(FULL, name))

    def machine(self, data, *options):
        extra = "".join("," + option for option in (*self.options, *options))
        return Terminal(PROGRAM, ["-drive", f"file={WORK}/system.img,format=raw,snapshot=on",
                                  "-drive", f"file={data},format=qcow2{extra}", *self.devices])

    def fill(self, left):
        """Leaves LEFT bytes of the file system."""
        free = shutil.disk_usage(FULL).free
        with open(os.path.join(FULL, "ballast"), "wb") as file:
            os.posix_fallocate(file.fileno(), 0, free - left)

    def test_goes_on_when_there_is_space(self):
        data = make_data("data.qcow2")
        self.fill(2 << 20)
        with self.machine(data) as guest:
            guest.log_in()
            guest.run("dd if=/dev/urandom of=/root/data bs=64k count=128 2>/dev/null")
            written = guest.run("sha256sum < /root/data").split()[0]
            guest.type(f"dd if=/root/data of={self.name} bs=64k conv=fsync 2>/dev/null; echo it is ''done")
            said = guest.wait_for(PAUSED)
            self.assertIn(f"drive '{self.drive}': writing ", said)
            self.assertIn("No space left on device", said)
            guest.wait_for(f"kill -CONT {guest.process.pid}")
            os.kill(guest.process.pid, signal.SIGCONT)  # in vain: it pauses again
            guest.wait_for(PAUSED)
            self.assertNotIn("it is done", guest.text)
            os.unlink(os.path.join(FULL, "ballast"))
            os.kill(guest.process.pid, signal.SIGCONT)
            guest.wait_for("it is done")
            guest.wait_for(PROMPT)
            guest.run("echo 3 > /proc/sys/vm/drop_caches")
            self.assertIn(written, guest.run(f"dd if={self.name} bs=64k count=128 2>/dev/null | sha256sum"))
            log = guest.run("dmesg")
            self.assertNotIn("I/O error", log)
            guest.power_off()
        subprocess.run(["qemu-img", "check", "-q", data], check=True)
        subprocess.run(["qemu-img", "convert", "-O", "raw", data, f"{WORK}/data.img"], check=True)
        with open(f"{WORK}/data.img", "rb") as file:
            self.assertEqual(hashlib.sha256(file.read(128 << 16)).hexdigest(), written)

    def test_ends_while_it_is_paused(self):
        data = make_data("data.qcow2")
        self.fill(1 << 20)
        with self.machine(data) as guest:
            guest.log_in()
            guest.type(f"dd if=/dev/urandom of={self.name} bs=64k count=128 conv=fsync")
            guest.wait_for(PAUSED)
            guest.process.send_signal(signal.SIGTERM)
            while guest.more():
                pass
            self.assertEqual(guest.process.wait(), 0)
        # What could not be written is missing; nothing else is wrong.
        self.assertIn(subprocess.run(["qemu-img", "check", "-q", data], stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL, check=False).returncode, (0, 3))

    def test_reports_where_told_to(self):
        data = make_data("data.qcow2")
        self.fill(1 << 20)
        with self.machine(data, "werror=report") as guest:
            guest.log_in()
            guest.type(f"dd if=/dev/urandom of={self.name} bs=64k count=128 conv=fsync; echo it is ''done")
            self.assertRegex(guest.wait_for("it is done"), "I/O error")
            self.assertNotIn(PAUSED, guest.text)


class WerrorInThread(Werror):
    """The same with a disk that an iothread works on."""
    drive = "data"
    name = "/dev/vda"
    options = ("if=none", "id=data")
    devices = ("-object", "iothread,id=io0", "-device", "virtio-blk-pci,drive=data,iothread=io0")


def main():
    global WORK, FULL
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    with tempfile.TemporaryDirectory(prefix="doppel-werror-test-", dir=".") as WORK:
        FULL = os.path.join(WORK, "full")
        os.mkdir(FULL)
        try:
            disk_image.need([shutil.which("qemu-img")])
            if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24M", "full", FULL], stderr=subprocess.DEVNULL,
                              check=False).returncode != 0:
                raise disk_image.Missing("the right to mount a tmpfs")
        except disk_image.Missing as missing:
            print(f"skipped: {missing}")
            sys.exit(77)
        try:
            with tempfile.TemporaryDirectory() as scratch:
                disk_image.make_disk(disk_image.Guest(GUESTS), scratch, os.path.join(WORK, "system.img"),
                                     spare_size=disk_image.MIB)
            done = unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2, exit=False)
            status = 0 if done.result.wasSuccessful() else 1
        except disk_image.Missing as missing:
            print(f"skipped: {missing}; scripts/fetch-guest gets the guest")
            status = 77
        finally:
            time.sleep(0.1)
            subprocess.run(["umount", "-l", FULL], check=False)
    sys.exit(status)


main()
