#!/usr/bin/env python3
"""floppy_test.py PROGRAM GUESTS [CASE...]: floppies, on the software accelerator.

SeaBIOS must load a boot sector that reads the whole floppy by INT 13h and writes to it; GRUB must come up from one; and
Linux's floppy driver must read and write both drives. Exit status 77, with the reason, where something is missing."""
import hashlib
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

import disk_image
from terminal import Terminal

PROGRAM, GUESTS = sys.argv[1:3]
HERE = os.path.dirname(os.path.abspath(__file__))
SIZE = 2880 * 512
WORK = None  # a directory for images


def path(name):
    return os.path.join(WORK, name)


def write_floppy(name, data):
    with open(path(name), "wb") as file:
        file.write(data.ljust(SIZE, b"\0"))
    return path(name)


def contents(name):
    with open(path(name), "rb") as file:
        return file.read()


def rolling_sum(data):
    """As floppy_sectors.asm has it."""
    total = 0
    for byte in data:
        total = ((total << 1 | total >> 31) + byte) & 0xFFFFFFFF
    return total


class Floppy(unittest.TestCase):
    @unittest.skipUnless(shutil.which("nasm"), "skipped: there is no nasm")
    def test_bios_reads_all_and_writes(self):
        subprocess.run(["nasm", "-f", "bin", "-o", path("boot.bin"), os.path.join(HERE, "floppy_sectors.asm")], check=True)
        before = contents("boot.bin") + os.urandom(SIZE - 512)
        write_floppy("bios.img", before)
        expected = rolling_sum(before)
        with Terminal(PROGRAM, ["-fda", path("bios.img"), "-boot", "a", "-device", "isa-debug-exit,iobase=0xf4"]) as guest:
            self.assertIn("Booting from Floppy", guest.wait_for("sum "))
            self.assertEqual(guest.wait_for("done").split(), [f"{expected:08X}"] * 2)
            while guest.more():
                pass
        after = contents("bios.img")
        self.assertEqual(after[-512:-508], struct.pack("<I", expected))
        self.assertEqual(after[:-512] + after[-508:], before[:-512] + before[-508:])

    def test_read_only_floppy(self):
        if not os.path.exists(path("boot.bin")):
            self.skipTest("there is no boot sector")
        write_floppy("read-only.img", contents("boot.bin"))
        drive = f"if=floppy,format=raw,readonly=on,file={path('read-only.img')}"
        with Terminal(PROGRAM, ["-drive", drive, "-boot", "a", "-device", "isa-debug-exit,iobase=0xf4"]) as guest:
            guest.wait_for("failed 00000300")  # INT 13h's "write protected"

    def test_grub(self):
        config = path("early.cfg")
        disk_image.write(config, "serial --unit=0 --speed=9600\nterminal_input serial\nterminal_output serial\n"
                                 "echo floppy-test: GRUB\n")
        core = path("core.img")
        subprocess.run(["grub-mkimage", "-O", "i386-pc", "-o", core, "-p", "(fd0)/", "-c", config, "biosdisk", "serial",
                        "terminal", "echo", "normal", "fat", "ls", "cat"], check=True)
        # GRUB's boot sector for floppies probes their geometry; its core follows in the next sectors.
        boot = contents_of(os.path.join(disk_image.GRUB, "boot.img"))
        write_floppy("grub.img", boot[:510] + b"\x55\xaa" + contents_of(core))
        with Terminal(PROGRAM, ["-fda", path("grub.img"), "-boot", "a"]) as guest:
            guest.wait_for("floppy-test: GRUB")
            guest.wait_for("grub> ")
            guest.send("ls\r")
            guest.wait_for("(fd0)")

    def test_linux(self):
        original = os.urandom(SIZE)
        write_floppy("a.img", original)
        write_floppy("b.img", b"")
        files = disk_image.Guest(GUESTS)
        disk_image.DISK_MODULES[:] = ["floppy"]
        with tempfile.TemporaryDirectory() as scratch:
            with open(path("initrd.gz"), "wb") as file:
                file.write(files.make_initramfs(scratch))
        arguments = ["-kernel", files.kernel, "-initrd", path("initrd.gz"), "-append",
                     "console=ttyS0 quiet root=/dev/none", "-fda", path("a.img"), "-fdb", path("b.img")]
        with Terminal(PROGRAM, arguments) as guest:
            guest.wait_for("can't access tty")
            guest.type("PS1='doppel:~''# '")
            guest.wait_for("doppel:~# ")
            self.assertRegex(guest.run("dmesg | grep -i -e fd0 -e FDC"), r"fd0 is 1.44M[\s\S]*FDC 0 is a")
            self.assertIn(hashlib.sha256(original).hexdigest(), guest.run("sha256sum < /dev/fd0"))
            guest.run("dd if=/dev/fd0 of=/dev/fd1 bs=18k conv=fsync 2>/dev/null")
            self.assertEqual(contents("b.img"), original)
            guest.run("head -c 737280 /dev/urandom > /tmp.bin && dd if=/tmp.bin of=/dev/fd0 bs=512 seek=720 conv=fsync")
            written = guest.run("sha256sum < /tmp.bin").split()[0]
            after = contents("a.img")
            self.assertEqual(hashlib.sha256(after[720 * 512:720 * 512 + 737280]).hexdigest(), written)
            self.assertEqual(after[:720 * 512], original[:720 * 512])
            self.assertFalse(re.search(r"floppy.*(error|timeout)", guest.run("dmesg"), re.IGNORECASE))


def contents_of(name):
    with open(name, "rb") as file:
        return file.read()


def main():
    global WORK
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    try:
        disk_image.Guest(GUESTS)
    except disk_image.Missing as missing:
        print(f"skipped: {missing}; scripts/fetch-guest gets the guest")
        sys.exit(77)
    with tempfile.TemporaryDirectory(prefix="doppel-floppy-test-", dir=".") as WORK:
        done = unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2, exit=False)
    sys.exit(0 if done.result.wasSuccessful() else 1)


main()
