#!/usr/bin/env python3
"""ovmf_test.py PROGRAM GUESTS [CASE...]: Debian's UEFI firmware in flash chips, on the software accelerator.

OVMF must reach its shell, keep a variable in its flash image over two runs, leave a read-only image as it is, and start
GRUB and Debian's kernel from a disk with a GUID partition table. Exit status 77, with the reason, where something is
missing."""
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

import disk_image
import efi_image
from terminal import Terminal, plain

PROGRAM, GUESTS = sys.argv[1:3]
CODE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
VARIABLES = "/usr/share/OVMF/OVMF_VARS_4M.fd"
SHELL = "Shell> "
GUID = "5f4a1c52-27b0-4d2b-9f61-6f1d1c0f7a11"  # nobody's; UEFI guards the names of its own
WORK = None  # a directory for images


def path(name):
    return os.path.join(WORK, name)


def new_variables(name):
    shutil.copy(VARIABLES, path(name))
    os.chmod(path(name), 0o644)
    return path(name)


def checksum(file):
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def flash(variables, *options):
    """QEMU's usual words for OVMF."""
    extra = "".join("," + option for option in options)
    return ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={CODE}",
            "-drive", f"if=pflash,format=raw,unit=1,file={variables}{extra}"]


def at_the_shell(guest):
    guest.wait_for("to skip")  # the countdown before startup.nsh
    guest.send("\x1b")
    guest.wait_for(SHELL)


def power_off(guest):
    guest.send("reset -s\r")
    while guest.more():
        pass
    return guest.process.wait()


def terminal(arguments):
    return Terminal(PROGRAM, arguments, memory="512")


class Ovmf(unittest.TestCase):
    def test_variables_stay(self):
        variables = new_variables("vars.fd")
        started = time.monotonic()
        with terminal(flash(variables)) as guest:
            at_the_shell(guest)
            guest.send(f"setvar DoppelTest -guid {GUID} -bs -rt -nv =0xC0FFEE42\r")
            guest.wait_for(SHELL)
            self.assertEqual(power_off(guest), 0)
        with terminal(["-pflash", CODE, "-pflash", variables, "-snapshot"]) as guest:
            at_the_shell(guest)
            guest.send(f"setvar DoppelTest -guid {GUID}\r")
            self.assertIn("42EEFFC0", plain(guest.wait_for(SHELL)).replace(" ", ""))
            self.assertEqual(power_off(guest), 0)
        print(f"{time.monotonic() - started:.1f} s for two runs to the shell")

    def test_read_only_variables_are_left_alone(self):
        variables = new_variables("read-only.fd")
        before = checksum(variables)
        with terminal(flash(variables, "readonly=on")) as guest:
            at_the_shell(guest)
            guest.send(f"setvar DoppelTest -guid {GUID} -bs -rt -nv =0x11\r")
            guest.wait_for(SHELL)
        self.assertEqual(checksum(variables), before)

    @unittest.skipUnless(shutil.which("qemu-img"), "skipped: there is no qemu-img")
    def test_variables_in_qcow2(self):
        variables = path("vars.qcow2")
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", VARIABLES, variables], check=True)
        arguments = ["-machine", "pc,pflash0=code,pflash1=vars",
                     "-drive", f"if=none,id=code,format=raw,readonly=on,file={CODE}",
                     "-drive", f"if=none,id=vars,format=qcow2,file={variables}"]
        with terminal(arguments) as guest:
            at_the_shell(guest)
            self.assertEqual(power_off(guest), 0)
        subprocess.run(["qemu-img", "check", "-q", variables], check=True)
        differs = subprocess.run(["qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", VARIABLES, variables],
                                 check=False)
        self.assertEqual(differs.returncode, 1, "OVMF writes its boot options")

    def test_the_shell_is_on_the_serial_port_beside_a_vga(self):
        with terminal([*flash(new_variables("vga.fd")), "-vga", "std"]) as guest:
            at_the_shell(guest)
            guest.send("pci\r")
            self.assertIn("VGA/8514 controller", plain(guest.wait_for(SHELL)))
            self.assertEqual(power_off(guest), 0)

    def test_boots_linux_from_a_disk(self):
        variables = new_variables("disk-vars.fd")
        with tempfile.TemporaryDirectory() as scratch:
            efi_image.make_efi_disk(disk_image.Guest(GUESTS), scratch, path("efi.img"))
        started = time.monotonic()
        with terminal([*flash(variables), "-drive", f"file={path('efi.img')},format=raw"]) as guest:
            guest.wait_for("disk-test: GRUB")
            guest.log_in()
            self.assertIn("/dev/disk-a2", guest.run("mount"))
            self.assertIn("EDK II", guest.run("dmesg | grep -i 'efi: *EFI v'"))
            self.assertIn("runtime", guest.run("ls /sys/firmware/efi"))
            self.assertEqual(guest.power_off(), 0)
        print(f"{time.monotonic() - started:.1f} s from OVMF to the login prompt and off again")

    def test_starts_a_kernel_of_the_command_line(self):
        guest_files = disk_image.Guest(GUESTS)
        with tempfile.TemporaryDirectory() as scratch:
            with open(path("initrd.gz"), "wb") as file:
                file.write(guest_files.make_initramfs(scratch))
        arguments = [*flash(new_variables("kernel-vars.fd")), "-kernel", guest_files.kernel, "-initrd",
                     path("initrd.gz"), "-append", "console=ttyS0 quiet root=/dev/null"]
        with terminal(arguments) as guest:
            guest.wait_for("can't access tty")  # the shell of an initramfs that finds no root


def main():
    global WORK
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    try:
        disk_image.need([CODE, VARIABLES])
        disk_image.Guest(GUESTS)
    except disk_image.Missing as missing:
        print(f"skipped: {missing}; scripts/fetch-guest gets the guest")
        sys.exit(77)
    with tempfile.TemporaryDirectory(prefix="doppel-ovmf-test-", dir=".") as WORK:
        done = unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2, exit=False)
    sys.exit(0 if done.result.wasSuccessful() else 1)


main()
