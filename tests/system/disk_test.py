#!/usr/bin/env python3
"""disk_test.py PROGRAM GUESTS [CASE...]: an installed Linux on a disk, and one on a CD-ROM, on the software accelerator.

GUESTS is where scripts/fetch-guest leaves Debian's kernel and busybox. SeaBIOS and GRUB must load them from the image;
the system comes up to its login prompt on the serial port, makes a file system, and what it wrote there is the same
after a second boot. Exit status 77, with the reason, where something is missing."""
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

import disk_image
from terminal import PROMPT, Terminal

PROGRAM, GUESTS = sys.argv[1:3]
WORK = None  # a directory with disk.img and cd.iso


def terminal(arguments):
    return Terminal(PROGRAM, arguments)


def image(name):
    return os.path.join(WORK, name)


def checksum(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Disk(unittest.TestCase):
    def test_survives_a_second_boot(self):
        started = time.monotonic()
        with terminal(["-hda", image("disk.img")]) as guest:
            guest.wait_for("disk-test: GRUB")
            guest.log_in()
            self.assertIn("/dev/disk-a1", guest.run("mount"))
            log = guest.run("dmesg")
            self.assertIn("ata1: PATA max MWDMA2", log)
            self.assertFalse(re.search(r"ata\d.*(exception|failed|error)", log), log[-3000:])
            guest.run("mke2fs /dev/disk-a2 >/dev/null 2>&1")
            guest.run("mount /dev/disk-a2 /mnt")
            guest.run("dd if=/dev/urandom of=/mnt/data bs=64k count=128 2>/dev/null")
            written = guest.run("sha256sum < /mnt/data").split()[0]
            guest.run("sync")
            self.assertEqual(guest.power_off(), 0)
        with terminal(["-drive", f"file={image('disk.img')},format=raw,cache=none,serial=S1", "-boot", "menu=off"]) as guest:
            guest.log_in()
            guest.run("mount -o ro /dev/disk-a2 /mnt")
            self.assertEqual(guest.run("sha256sum < /mnt/data").split()[0], written)
            self.assertEqual(guest.power_off(), 0)
        print(f"{time.monotonic() - started:.1f} s for two boots and 8 MiB written and read")

    def test_read_only_disk_reports_write_errors(self):
        with open(image("data.img"), "wb") as file:
            file.write(os.urandom(1 << 20))
        before = checksum(image("data.img"))
        with terminal(["-cdrom", image("cd.iso"), "-boot", "d", "-drive", f"file={image('data.img')},format=raw,readonly=on"]) as guest:
            guest.wait_for("disk-test: GRUB")
            guest.log_in()
            self.assertIn("/dev/sr0", guest.run("mount"))
            self.assertIn(before, guest.run("sha256sum < /dev/disk-a"))
            guest.type("dd if=/dev/zero of=/dev/disk-a bs=64k count=1 conv=fsync")
            self.assertRegex(guest.wait_for(PROMPT), r"[Ee]rror")
            guest.power_off()
        self.assertEqual(checksum(image("data.img")), before)

    @unittest.skipUnless(shutil.which("qemu-img"), "skipped: there is no qemu-img")
    def test_snapshot_keeps_a_qcow2_image(self):
        subprocess.run(["qemu-img", "convert", "-O", "qcow2", image("disk.img"), image("disk.qcow2")], check=True)
        before = checksum(image("disk.qcow2"))
        with terminal(["-snapshot", image("disk.qcow2")]) as guest:
            guest.log_in()
            guest.run("echo changed > /root/file && sync")
            self.assertEqual(guest.run("cat /root/file"), "changed")
            self.assertEqual(guest.power_off(), 0)
        self.assertEqual(checksum(image("disk.qcow2")), before)

    def test_boot_index_overrules_the_order(self):
        with terminal(["-drive", f"file={image('disk.img')},format=raw,if=none,id=d,readonly=on",
                       "-drive", f"file={image('cd.iso')},if=none,id=c",
                       "-device", "ide-hd,drive=d,bus=ide.0,unit=0,bootindex=2",
                       "-device", "ide-cd,drive=c,bus=ide.1,unit=1,bootindex=1"]) as guest:
            self.assertIn("Booting from DVD/CD", guest.wait_for("disk-test: GRUB"))


def main():
    global WORK
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    with tempfile.TemporaryDirectory(prefix="doppel-disk-test-", dir=".") as WORK:
        try:
            guest = disk_image.Guest(GUESTS)
            for name, make in (("disk.img", disk_image.make_disk), ("cd.iso", disk_image.make_iso)):
                with tempfile.TemporaryDirectory() as scratch:
                    make(guest, scratch, image(name))
        except disk_image.Missing as missing:
            print(f"skipped: {missing}; scripts/fetch-guest gets the guest")
            sys.exit(77)
        done = unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2, exit=False)
    sys.exit(0 if done.result.wasSuccessful() else 1)


main()
