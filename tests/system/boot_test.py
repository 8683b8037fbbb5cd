#!/usr/bin/env python3
"""boot_test.py PROGRAM TEST_GUEST: whole machines on every accelerator that the host has.

SeaBIOS must find the memory, processors and PCI devices that were asked for; the test guest must reach user mode and
power off, through the firmware and without it, with the interrupt controllers in the kernel, split and in Doppel.
What needs /dev/kvm is skipped, with the reason, where it cannot be opened."""
import os
import re
import select
import subprocess
import sys
import tempfile
import time
import unittest

from commands import tell_to_end, wait_until_built

PROGRAM, GUEST = sys.argv[1:3]
SECONDS = 60
QUIET = ["-display", "none", "-no-reboot", "-monitor", "none", "-nic", "none"]


def run_until(arguments, marker):
    """What the machine printed on standard output up to MARKER, which ends it."""
    process = subprocess.Popen([PROGRAM, *QUIET, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    deadline = time.monotonic() + SECONDS
    text = b""
    try:
        while marker not in text and select.select([process.stdout], [], [], deadline - time.monotonic())[0]:
            data = os.read(process.stdout.fileno(), 4096)
            if not data:
                break
            text += data
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    return text.decode(errors="replace")


def run_guest(arguments):
    """The test guest's lines and the program's exit status."""
    done = subprocess.run([PROGRAM, *QUIET, "-serial", "stdio", "-kernel", GUEST, *arguments], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS)
    text = done.stdout.decode(errors="replace")
    return re.findall(r"doppel-guest: (.*?)\r?\n", text), done.returncode, text


def kvm_error():
    """Why there is no KVM, or None."""
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR))
        return None
    except OSError as error:
        return f"/dev/kvm: {error.strerror}"


needs_kvm = unittest.skipIf(kvm_error(), kvm_error())


class SeaBios:
    def boot(self, *arguments):
        return run_until(["-accel", self.accelerator, "-serial", "none", "-chardev", "stdio,id=d", "-device", "isa-debugcon,iobase=0x402,chardev=d",
                          *arguments], b"No bootable device")

    def check(self, text, cpus, ram):
        self.assertIn("SeaBIOS (version", text)
        self.assertIn("No bootable device", text)
        self.assertIn(f"Found {cpus} cpu(s) max supported {cpus} cpu(s)", text)
        found = re.findall(r"qemu/e820: addr 0x0*([0-9a-f]+) len 0x0*([0-9a-f]+) \[RAM\]", text)
        self.assertEqual([(int(a, 16), int(n, 16)) for a, n in found], ram)

    def test_64_mib_one_cpu(self):
        self.check(self.boot("-m", "64", "-smp", "1"), 1, [(0, 64 << 20)])

    def test_1_gib_two_cpus(self):
        self.check(self.boot("-m", "1G", "-smp", "2"), 2, [(0, 1 << 30)])

    def test_6_gib_eight_cpus_around_the_pci_hole(self):
        self.check(self.boot("-m", "6G", "-smp", "8"), 8, [(0, 3 << 30), (4 << 30, 3 << 30)])

    def test_pci_devices_and_bridges(self):
        text = self.boot("-device", "pci-bridge,id=outer", "-device", "pci-bridge,bus=outer,chassis_nr=2,addr=3")
        self.assertIn("Found 6 PCI devices (max PCI bus is 02)", text)
        found = re.findall(r"PCI: init bdf=(\S+) id=(\S+)", text)
        self.assertEqual(found, [("00:00.0", "8086:1237"), ("00:01.0", "8086:7000"), ("00:01.1", "8086:7010"),
                                 ("00:01.3", "8086:7113"), ("00:02.0", "1b36:0001"), ("01:03.0", "1b36:0001")])

    def test_banner_on_the_serial_port(self):
        text = run_until(["-accel", self.accelerator, "-serial", "stdio"], b"No bootable device")
        self.assertIn("SeaBIOS (version", text)
        self.assertIn("No bootable device", text)


@needs_kvm
class SeaBiosOnKvm(SeaBios, unittest.TestCase):
    accelerator = "kvm"


class SeaBiosOnSoft(SeaBios, unittest.TestCase):
    accelerator = "soft"


class TestGuest:
    def check(self, arguments, cpus, mebibytes):
        lines, status, text = run_guest(["-accel", self.accelerator, *arguments])
        self.assertEqual(status, 0, text)
        self.assertIn(f"memory: {mebibytes} MiB", lines, text)
        self.assertIn(f"processors: {cpus} of {cpus} run", lines, text)
        self.assertIn("timer: 10 ticks", lines, text)
        self.assertIn("user space reached", lines, text)

    def test_pc_through_firmware(self):
        self.check(["-m", "256", "-smp", "2"], 2, 256)

    def test_pc_with_6_gib(self):
        self.check(["-m", "6G"], 1, 6144)

    def test_pc_without_firmware(self):
        self.check(["-M", "pc,x-direct-boot=on", "-m", "256", "-smp", "2"], 2, 256)

    def test_microvm(self):
        self.check(["-M", "microvm", "-m", "256", "-smp", "2"], 2, 256)

    def test_numa_nodes(self):
        self.check(["-M", "microvm", "-m", "256", "-smp", "2", "-numa", "node,cpus=0", "-numa", "node,cpus=1",
                    "-numa", "dist,src=0,dst=1,val=21"], 2, 256)


@needs_kvm
class TestGuestOnKvm(TestGuest, unittest.TestCase):
    accelerator = "kvm"

    def test_microvm_with_kernel_interrupt_controllers(self):
        self.check(["-M", "microvm,kernel_irqchip=on", "-m", "256", "-smp", "2"], 2, 256)

    def test_split_interrupt_controller(self):
        self.check(["-M", "pc,kernel_irqchip=split,x-direct-boot=on", "-m", "256", "-smp", "2"], 2, 256)

    def test_own_interrupt_controllers(self):
        self.check(["-M", "pc,kernel_irqchip=off,x-direct-boot=on", "-m", "256", "-smp", "2"], 2, 256)


class TestGuestOnSoft(TestGuest, unittest.TestCase):
    accelerator = "soft"

    def test_one_instruction_per_block(self):
        self.accelerator = "soft,one-insn-per-tb=on"
        self.test_microvm()

    def test_files_for_perf(self):
        with tempfile.TemporaryDirectory() as directory:
            process = subprocess.Popen([PROGRAM, *QUIET, "-M", "microvm", "-accel", "soft", "-serial", "null", "-kernel",
                                        GUEST, "-perfmap", "-jitdump"], stdin=subprocess.DEVNULL, cwd=directory)
            self.addCleanup(os.remove, f"/tmp/perf-{process.pid}.map")
            self.assertEqual(process.wait(SECONDS), 0)
            with open(f"/tmp/perf-{process.pid}.map") as names:
                self.assertRegex(names.read(), r"\A[0-9a-f]+ [0-9a-f]+ doppel_gate\n[0-9a-f]+ [0-9a-f]+ guest_0x[0-9a-f]+\n")
            with open(os.path.join(directory, f"jit-{process.pid}.dump"), "rb") as dump:
                self.assertEqual(dump.read(8), b"DTiJ\1\0\0\0")


class Signals(unittest.TestCase):
    def test_told_to_end_again_and_again(self):
        for _ in range(5):
            process = subprocess.Popen([PROGRAM, *QUIET, "-accel", "soft", "-serial", "none", "-smp", "2", "-S"], stdin=subprocess.DEVNULL)
            self.assertTrue(wait_until_built(process))
            tell_to_end(process)
            process.kill()
            self.assertEqual(process.wait(), 0)


unittest.main(argv=sys.argv[:1], verbosity=2)
