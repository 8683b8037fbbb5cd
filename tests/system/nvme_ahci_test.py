#!/usr/bin/env python3
"""nvme_ahci_test.py PROGRAM GUESTS [CASE...]: an installed Linux on an NVMe and on an AHCI disk, on the software
accelerator.

SeaBIOS and GRUB load it; what it writes is there after a second boot, and e2fsck finds nothing wrong. Exit status 77, with
the reason, where something is missing."""
import os
import re
import sys
import tempfile
import time
import unittest

import disk_image
from terminal import Terminal

PROGRAM, GUESTS = sys.argv[1:3]
KERNEL = os.path.join(GUESTS, "vmlinuz")
WORK = None  # a directory with nvme.img and sata.img (installed systems)
NVME = ["-device", "nvme,drive=d,serial=S1,bootindex=1"]
AHCI = ["-device", "ahci,id=ahci0", "-device", "ide-hd,bus=ahci0.0,drive=d,bootindex=1", "-device", "ide-cd,bus=ahci0.3"]


def terminal(arguments):
    return Terminal(PROGRAM, arguments)


def image(name):
    return os.path.join(WORK, name)


def drive(name, ident, more=""):
    return ["-drive", f"file={image(name)},format=raw,if=none,id={ident}{more}"]


class Boot(unittest.TestCase):
    def boots_twice(self, name, partition, arguments, expected):
        started = time.monotonic()
        spare = partition[:-1] + "2"
        arguments = drive(name, "d") + arguments
        with terminal(arguments) as guest:
            guest.wait_for("disk-test: GRUB")
            guest.log_in()
            self.assertIn(partition, guest.run("mount"))
            log = guest.run("dmesg")
            self.assertRegex(log, expected)
            self.assertFalse(re.search(r"(ata\d|nvme).*(exception|failed|error|timeout)", log), log[-3000:])
            guest.run(f"mke2fs {spare} >/dev/null 2>&1")
            guest.run(f"mount {spare} /mnt")
            guest.run("dd if=/dev/urandom of=/mnt/data bs=64k count=128 2>/dev/null")
            written = guest.run("sha256sum < /mnt/data").split()[0]
            guest.run("sync")
            self.assertEqual(guest.power_off(), 0)
        disk_image.check_file_systems(image(name))
        with terminal(arguments) as guest:
            guest.log_in()
            guest.run(f"mount -o ro {spare} /mnt")
            self.assertEqual(guest.run("sha256sum < /mnt/data").split()[0], written)
            self.assertEqual(guest.power_off(), 0)
        print(f"{time.monotonic() - started:.1f} s for two boots and 8 MiB written and read")

    def test_nvme(self):
        self.boots_twice("nvme.img", "/dev/nvme0n1p1", NVME, r"nvme0n1: p1 p2")

    def test_nvme_with_its_pin(self):
        """Without MSI-X, and without doorbells in memory."""
        with terminal([*drive("nvme.img", "d", ",snapshot=on"), "-device", "nvme,drive=d,serial=S1,dbcs=off", "-kernel",
                       KERNEL, "-initrd", image("initrd.gz"), "-append",
                       "root=/dev/nvme0n1p1 console=ttyS0 panic=-1 quiet pci=nomsi"]) as guest:
            guest.log_in()
            self.assertRegex(guest.run("cat /proc/interrupts"), r"IO-APIC.*nvme0q1")
            guest.run("dd if=/dev/nvme0n1 of=/dev/null bs=64k count=256 iflag=direct 2>/dev/null")

    def test_ahci(self):
        self.boots_twice("sata.img", "/dev/disk-a1", AHCI, r"(?s)(?=.*LBA48 NCQ \(depth 32\)).*ATAPI: QEMU DVD-ROM")

    def test_cdrom_at_ahci(self):
        with terminal([*drive("cd.iso", "c", ",readonly=on"), "-device", "ahci,id=a",
                       "-device", "ide-cd,bus=a.2,drive=c,bootindex=1"]) as guest:
            guest.wait_for("disk-test: GRUB")
            guest.log_in()
            self.assertIn("/dev/sr0", guest.run("mount"))


def main():
    global WORK
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    with tempfile.TemporaryDirectory(prefix="doppel-nvme-ahci-test-", dir=".") as WORK:
        try:
            guest = disk_image.Guest(GUESTS)
            for name, root in (("nvme.img", "/dev/nvme0n1p1"), ("sata.img", "/dev/disk-a1")):
                with tempfile.TemporaryDirectory() as scratch:
                    disk_image.make_disk(guest, scratch, image(name), root=root)
            with tempfile.TemporaryDirectory() as scratch, open(image("initrd.gz"), "wb") as initrd:
                initrd.write(guest.make_initramfs(scratch))
            with tempfile.TemporaryDirectory() as scratch:
                disk_image.make_iso(guest, scratch, image("cd.iso"))
        except disk_image.Missing as missing:
            print(f"skipped: {missing}; scripts/fetch-guest gets the guest")
            sys.exit(77)
        done = unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2, exit=False)
    sys.exit(0 if done.result.wasSuccessful() else 1)


main()
