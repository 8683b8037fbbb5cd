#!/usr/bin/env python3
"""fio_test.py PROGRAM GUESTS [--seconds N] [CASE...]: fio, the host's, in a guest of -accel soft with two processors. It
writes random blocks of many sizes to every kind of disk and reads each of them back; no byte may differ, and the guest's
kernel may have nothing to complain of. N seconds each, 3 unless told."""
import os
import re
import sys
import tempfile
import unittest

import disk_image
from terminal import Terminal

PROGRAM, GUESTS = sys.argv[1:3]
SECONDS = 3
WORK = None  # a directory with system.img and tools.img


def image(name):
    return os.path.join(WORK, name)


def drive(name, ident, more=""):
    return ["-drive", f"file={image(name)},format=raw,if=none,id={ident}{more}"]


class Fio(unittest.TestCase):
    """The system and the tools are on IDE, the disk under test is empty."""

    def verify(self, device, arguments, smallest=512, cache="writeback"):
        with open(image("target.img"), "wb") as file:
            file.truncate(256 << 20)
        with Terminal(PROGRAM, ["-m", "512", "-smp", "2", *drive("system.img", "s", ",snapshot=on"), *drive("tools.img", "t", ",readonly=on"),
                                "-device", "ide-hd,drive=s,bus=ide.0,unit=0,bootindex=0",
                                "-device", "ide-hd,drive=t,bus=ide.0,unit=1", *drive("target.img", "x", f",cache={cache}"), *arguments]) as guest:
            guest.log_in()
            guest.run("mount -o ro /dev/disk-b /mnt")
            guest.deadline += 4 * SECONDS
            text = guest.run(f"{disk_image.FIO} --name=v --filename={device} --iodepth=16 --rw=randwrite --bsrange={smallest}-256k"
                             f" --blockalign={smallest} --size=200m --verify=crc32c --verify_fatal=1 --verify_backlog=128 --time_based"
                             f" --runtime={SECONDS} --randrepeat=0")
            self.assertRegex(text, r"err= 0")
            log = guest.run("dmesg | tail -n 40")
            self.assertFalse(re.search(r"(ata\d|nvme|I/O|sd|vd).*(exception|failed|error|timeout)", log), log)
            print(f"{device} {arguments[-1]}: {'; '.join(re.findall(r'(?:READ|WRITE): .*', text))}")

    def test_ide(self):
        self.verify("/dev/disk-c", ["-device", "ide-hd,drive=x,bus=ide.1,unit=0"])

    def test_ahci(self):
        self.verify("/dev/disk-c", ["-device", "ahci,id=a", "-device", "ide-hd,drive=x,bus=a.1"])

    def test_nvme(self):
        self.verify("/dev/nvme0n1", ["-device", "nvme,drive=x,serial=S1"])

    def test_nvme_with_large_blocks(self):
        self.verify("/dev/nvme0n1", ["-device", "nvme,drive=x,serial=S1,logical_block_size=4096,dbcs=off"], 4096)

    def test_virtio_blk(self):
        self.verify("/dev/vda", ["-device", "virtio-blk-pci,drive=x"])

    def test_virtio_blk_with_packed_rings_and_no_page_cache(self):
        self.verify("/dev/vda", ["-device", "virtio-blk-pci,drive=x,packed=on,num-queues=2"], cache="none")

    def test_virtio_blk_in_an_iothread(self):
        self.verify("/dev/vda", ["-object", "iothread,id=io0", "-device", "virtio-blk-pci,drive=x,iothread=io0"], cache="none")

    def test_virtio_scsi_in_an_iothread(self):
        self.verify("/dev/disk-c", ["-object", "iothread,id=io0", "-device", "virtio-scsi-pci,id=v,iothread=io0",
                                    "-device", "scsi-hd,drive=x,bus=v.0"])

    def test_virtio_scsi(self):
        self.verify("/dev/disk-c", ["-device", "virtio-scsi-pci,id=v", "-device", "scsi-hd,drive=x,bus=v.0"])


def main():
    global WORK, SECONDS
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    cases = sys.argv[3:]
    if cases[:1] == ["--seconds"]:
        SECONDS = int(cases[1])
        cases = cases[2:]
    with tempfile.TemporaryDirectory(prefix="doppel-fio-test-", dir=".") as WORK:
        try:
            guest = disk_image.Guest(GUESTS)
            with tempfile.TemporaryDirectory() as scratch:
                disk_image.make_disk(guest, scratch, image("system.img"))
            disk_image.make_fio_disk(image("tools.img"))
        except disk_image.Missing as missing:
            print(f"skipped: {missing}")
            sys.exit(77)
        done = unittest.main(argv=[sys.argv[0], *cases], verbosity=2, exit=False)
    sys.exit(0 if done.result.wasSuccessful() else 1)


main()
