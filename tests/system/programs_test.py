#!/usr/bin/env python3
"""programs_test.py PROGRAM GUESTS [--seconds N] [CASE...]: large programs in a guest of -accel soft with two processors
do what they do on the host: gcc, Python's own tests, openssl, node, and stress-ng, which checks itself.

The guest is what `scripts/fetch-guest programs` unpacks; the same files run here by chroot, for which it takes root's
rights. N seconds for each class of stress-ng, 20 unless told. Exit status 77, with the reason, where something is
missing. Takes a quarter of an hour."""
import os
import re
import subprocess
import sys
import tempfile
import unittest

import disk_image
import program_sources
from terminal import QUIET

PROGRAM, GUESTS = sys.argv[1:3]
TREE = os.path.join(GUESTS, "programs")
SECONDS = 20  # of each class
STRESS_CLASSES = ["cpu", "vm", "os", "interrupt", "scheduler", "signal"]
# They ask for devices or rights that a guest of this kind has not, take processors away, exhaust its memory, or (iomix) are
# interrupted on a tmpfs at their end.
UNFIT_STRESSORS = ("bad-altstack|bigheap|brk|stack|mlockmany|mmapmany|oom-pipe|ramfs|resources|cpu-online|memhotplug|netlink-.*|raw.*|"
                   "quota|tun|watchdog|physpage|pci|dev|procfs|sysfs|sysinval|enosys|rlimit|smi|reboot|swap|module|af-alg|"
                   "binderfs|bind-mount|apparmor|zombie|iomix|userfaultfd|key|io-uring|loop")

HOST = """
mount -t proc proc {tree}/proc && mount -t tmpfs tmp {tree}/tmp && mount --bind /dev {tree}/dev &&
cp -a {work} {tree}/tmp/ && exec chroot {tree} /bin/busybox env -i /bin/busybox sh /tmp/work/check {name}
"""


class Programs(unittest.TestCase):
    def setUp(self):
        work = tempfile.TemporaryDirectory(prefix="doppel-programs-test-", dir=".")
        self.addCleanup(work.cleanup)
        self.work = os.path.abspath(work.name)
        os.makedirs(self.path("root/work"))
        program_sources.write(self.path("root/work"))

    def path(self, name):
        return os.path.join(self.work, name)

    def guest(self, name, *arguments, seconds):
        """What a machine prints that runs the check NAME."""
        with open(self.path("initrd"), "wb") as initrd:
            with open(os.path.join(GUESTS, "programs.gz"), "rb") as file:
                initrd.write(file.read())
            initrd.write(bytes(-initrd.tell() % 4))  # where the kernel looks for the next archive
            initrd.write(disk_image.cpio(self.path("root")))
        words = " ".join(["/bin/sh", "/work/check", name, *arguments])
        done = subprocess.run([PROGRAM, "-accel", "soft", "-cpu", "max", "-smp", "2", "-m", "3072", *QUIET,
                               "-kernel", os.path.join(GUESTS, "vmlinuz"), "-initrd", self.path("initrd"),
                               "-append", f"console=ttyS0 panic=-1 quiet -- {words}"],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=seconds)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.replace("\r", "")

    def results(self, text):
        """The lines between the check's first and last."""
        self.assertIn("check begins\n", text, text[-2000:])
        self.assertIn("\ncheck ends\n", text, text[-2000:])
        return text.split("check begins\n")[1].split("\ncheck ends\n")[0].strip()

    def same_as_host(self, name, seconds):
        here = subprocess.run(["unshare", "--mount", "--pid", "--fork", "sh", "-ec",
                               HOST.format(tree=os.path.abspath(TREE), work=self.path("root/work"), name=name)],
                              check=True, stdout=subprocess.PIPE, text=True).stdout
        expected = self.results(here)
        self.assertNotRegex(expected, "status [1-9]|FAILURE")
        self.assertEqual(self.results(self.guest(name, seconds=seconds)), expected)
        lines = expected.split("\n")
        print(f"{len(lines)} lines equal, the last: {lines[-1]}", end="; ", flush=True)

    def test_c_project(self):
        self.same_as_host("gcc", 900)

    def test_python(self):
        self.same_as_host("python", 3000)

    def test_openssl(self):
        self.same_as_host("openssl", 900)

    def test_node(self):
        self.same_as_host("node", 900)

    def stress(self, name):
        lines = self.results(self.guest("stress", name, str(SECONDS), UNFIT_STRESSORS, seconds=600 + 10 * SECONDS)).split("\n")
        print("; ".join(lines), end="; ", flush=True)
        # Of those that do not succeed, 3 have found that they cannot run here, and 4 that this machine is not fit.
        bad = [line for line in lines[:-1] if re.fullmatch(r"\S+: status \d+", line) and not line.endswith(("status 3", "status 4"))]
        self.assertEqual(bad, [])
        self.assertGreater(len(lines[-1].split()), 10)


for stress_class in STRESS_CLASSES:
    setattr(Programs, f"test_stress_{stress_class}", lambda self, name=stress_class: self.stress(name))


def main():
    global SECONDS
    cases = sys.argv[3:]
    if cases[:1] == ["--seconds"]:
        SECONDS = int(cases[1])
        cases = cases[2:]
    try:
        disk_image.need([TREE, os.path.join(GUESTS, "programs.gz")])
    except disk_image.Missing as missing:
        print(f"skipped: {missing}; scripts/fetch-guest programs makes it")
        sys.exit(77)
    if os.geteuid() != 0:
        print("skipped: chroot needs root's rights")
        sys.exit(77)
    done = unittest.main(argv=[sys.argv[0], *cases], verbosity=2, exit=False)
    sys.exit(0 if done.result.wasSuccessful() else 1)


main()
