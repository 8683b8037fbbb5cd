#!/usr/bin/env python3
"""linux_test.py PROGRAM GUESTS [CASE...]: stock guests on the software accelerator.

GUESTS is where scripts/fetch-guest leaves them. Debian's amd64 and i386 kernels must reach user space and power off,
come up again after a reboot, memtest86+ must pass over its memory once, iPXE's shell must answer. Exit status 77, with
the reason, where the guests were not fetched."""
import os
import re
import select
import subprocess
import sys
import time
import unittest

PROGRAM, GUESTS = sys.argv[1:3]
SECONDS = int(os.environ.get("DOPPEL_TEST_SECONDS", "600"))
QUIET = ["-display", "none", "-monitor", "none", "-nic", "none", "-serial", "stdio"]


def guest(name):
    return os.path.join(GUESTS, name)


def need(name):
    if not os.path.exists(guest(name)):
        raise unittest.SkipTest(f"skipped: {name} was not fetched; scripts/fetch-guest does it")


def linux(kernel, initramfs, append):
    return ["-kernel", guest(kernel), "-initrd", guest(initramfs), "-append", f"console=ttyS0 panic=-1 {append}"]


def run(arguments, stop=None, typed=(), accelerator="soft"):
    """What the machine printed until it ended, or until STOP(text), and its exit status (None: it was ended).

    TYPED are pairs of a text to wait for, behind the one before, and the keys to type then."""
    process = subprocess.Popen([PROGRAM, "-accel", accelerator, *QUIET, *arguments], stdin=subprocess.PIPE if typed else subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + SECONDS
    text, status, read, typed = "", None, 0, list(typed)
    try:
        while select.select([process.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
            data = os.read(process.stdout.fileno(), 65536)
            text += data.decode(errors="replace")
            if not data:
                status = process.wait()
                break
            if typed and (at := text.find(typed[0][0], read)) >= 0:
                read = at + len(typed[0][0])
                os.write(process.stdin.fileno(), typed.pop(0)[1])
            if stop and stop(text):
                break
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        if process.stdin:
            process.stdin.close()
    return text, status


class Linux(unittest.TestCase):
    def boots(self, arguments, kernel="vmlinuz", initramfs="initramfs.gz", cpus=1, accelerator="soft"):
        need(kernel)
        started = time.monotonic()
        text, status = run(["-no-reboot", *linux(kernel, initramfs, "doppel.check"), *arguments],
                           accelerator=accelerator)
        lines = re.findall(r"doppel-guest: (.*?)\r?\n", text)
        self.assertIn("user space reached", lines, text[-3000:])
        self.assertEqual(status, 0, text[-3000:])
        self.assertTrue(any(f", {cpus} online" in line for line in lines), lines)
        print(f"{time.monotonic() - started:.1f} s: {' | '.join(lines[1:4])}")
        return text

    def test_amd64(self):
        text = self.boots([])
        self.assertIn("doppel-guest: pci 0000:00:00.0 0x8086:0x1237 class 0x060000", text)

    def test_verified(self):
        # In lockstep with the interpreter each block's first passes, 200 million instructions and more. All of the
        # boot's six billion, most of which unpack the kernel, would take minutes.
        text = self.boots(["-d", "accel"], accelerator="soft,verify=12000")
        found = re.search(r"(\d+) instructions in (\d+) blocks compared with the interpreter, (\d+) differences", text)
        self.assertIsNotNone(found, text[-3000:])
        print(found[0])
        self.assertGreater(int(found[1]), 200_000_000)
        self.assertEqual(int(found[3]), 0)

    def test_two_processors(self):
        self.boots(["-smp", "2"], cpus=2)

    def test_64_mib(self):
        # The amd64 kernel unpacks to 80 MiB, whoever runs it.
        self.boots(["-m", "64M"], kernel="vmlinuz-686", initramfs="initramfs-i386.gz")

    def test_6_gib(self):
        self.boots(["-m", "6G"])

    def test_cpu_max(self):
        self.boots(["-cpu", "max"])

    def test_microvm(self):
        self.boots(["-M", "microvm"])

    def test_i386(self):
        self.boots([], kernel="vmlinuz-686", initramfs="initramfs-i386.gz")

    def test_i386_pae(self):
        self.boots([], kernel="vmlinuz-686-pae", initramfs="initramfs-i386.gz")

    def test_reboots(self):
        times = int(os.environ.get("DOPPEL_TEST_REBOOTS", "3"))
        text, _ = run(linux("vmlinuz", "initramfs.gz", "quiet -- reboot -f"),
                      lambda seen: seen.count("user space reached") > times)
        self.assertGreater(text.count("user space reached"), times, text[-3000:])


class Others(unittest.TestCase):
    def test_memtest(self):
        need("memtest.bin")
        text, _ = run(["-m", "64", "-kernel", guest("memtest.bin"), "-append", "console=ttyS0,115200"],
                      lambda seen: re.search(r"Pass: *[1-9]|Errors: *[1-9]", seen))
        self.assertNotRegex(text, r"Errors: *[1-9]")
        self.assertRegex(text, r"Pass: *[1-9]")

    def test_ipxe(self):
        need("ipxe.lkrn")
        answer = re.compile(r"^builtin/version:string = (\S+)", re.MULTILINE)
        text, _ = run(["-kernel", guest("ipxe.lkrn")], answer.search,
                      [("Ctrl-B", b"\x02"), ("iPXE>", b"show version\r")])
        self.assertIn("iPXE> show version", text)
        self.assertRegex(text, answer)


def main():
    missing = [name for name in ("vmlinuz", "initramfs.gz") if not os.path.exists(guest(name))]
    if missing:
        print(f"skipped: {missing[0]} was not fetched; scripts/fetch-guest does it")
        sys.exit(77)
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2)


main()
