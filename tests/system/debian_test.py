#!/usr/bin/env python3
"""debian_test.py PROGRAM GUESTS [CASE...]: Debian with systemd, installed on disk images, under -accel soft.

debian in GUESTS is the system, and debian-packages has packages that it lacks; `scripts/fetch-guest debian` makes both.
From raw and qcow2 images, on IDE with -hda and on virtio-blk through SeaBIOS, and by OVMF from a GUID partition table, it
must come to `login:`, on the VGA's text screen too. In it, packages are installed, a file system is made, filled and
checked, and after a reboot everything written has the same checksums; e2fsck and qemu-img find nothing wrong. Takes
minutes, and needs root's rights to read SYSTEM; exit status 77, with the reason, where something is missing."""
import glob
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

import disk_image
import efi_image
import vga_screen
from disk_image import MIB, write
from terminal import Terminal

PROGRAM, GUESTS = sys.argv[1:3]
SYSTEM = os.path.join(GUESTS, "debian")
PACKAGES = os.path.join(GUESTS, "debian-packages")
UUID = "6b3f0d3c-7d0e-4c57-9d3a-0d0ffe1d0ffe"  # of the root file system, whatever the disk is called
CODE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
VARIABLES = "/usr/share/OVMF/OVMF_VARS_4M.fd"
WORK = None  # a directory with mbr.img and gpt.img
ROOT_SIZE = 1536 * MIB


def path(name):
    return os.path.join(WORK, name)


class Debian:
    """In the place of disk_image.Guest: SYSTEM, set up to be logged in to."""

    def __init__(self):
        disk_image.need([SYSTEM, PACKAGES, *glob.glob(f"{SYSTEM}/boot/vmlinuz-*")[:1]])

    def make_tree(self, *unused):
        kernel = os.path.basename(glob.glob(f"{SYSTEM}/boot/vmlinuz-*")[0]).removeprefix("vmlinuz-")
        write(f"{SYSTEM}/boot/grub/grub.cfg", "serial --unit=0 --speed=115200\nterminal_output serial\necho 'disk-test: GRUB'\n"
              f"linux /boot/vmlinuz-{kernel} root=UUID={UUID} rw console=ttyS0 panic=-1 quiet nomodeset\ninitrd /boot/initrd.img-{kernel}\nboot\n")
        write(f"{SYSTEM}/etc/fstab", f"UUID={UUID} / ext4 errors=remount-ro 0 1\n")
        write(f"{SYSTEM}/etc/hostname", "doppel\n")
        shutil.copytree(PACKAGES, f"{SYSTEM}/opt/packages", dirs_exist_ok=True)
        subprocess.run(["chroot", SYSTEM, "passwd", "-q", "-d", "root"], check=True)
        return SYSTEM


class Installed(unittest.TestCase):
    def start(self, arguments):
        guest = Terminal(PROGRAM, ["-smp", "2", *arguments], memory="1024")
        self.addCleanup(guest.__exit__)
        guest.deadline = time.monotonic() + 600
        started = time.monotonic()
        guest.log_in()
        print(f"login after {time.monotonic() - started:.1f} s", end="; ", flush=True)
        guest.run("stty cols 500; export TERM=dumb")
        return guest

    def power_off(self, guest):
        guest.type("poweroff")
        while guest.more():
            pass
        self.assertEqual(guest.process.wait(), 0)

    def lives_through_reboot(self, arguments, disk, spare):
        guest = self.start(arguments)
        self.assertIn(disk, guest.run("findmnt -n -o SOURCE /"))
        self.assertIn("Setting up hello", guest.run("apt-get -y install /opt/packages/*.deb 2>&1"))
        self.assertIn("Hello, world!", guest.run("hello"))
        guest.run(f"mkfs.ext4 -q -F {spare} && mount {spare} /mnt")
        guest.run("cp -a /usr/lib/x86_64-linux-gnu /mnt/files; dd if=/dev/urandom of=/mnt/random bs=1M count=40 status=none")
        sums = "(cd / && find /mnt /usr/bin /opt/packages -type f -print0 | sort -z | xargs -0 sha256sum) > {}"
        guest.run(sums.format("/root/before"))
        guest.run(f"umount /mnt && fsck.ext4 -f -n {spare} && mount {spare} /mnt")
        self.power_off(guest)
        guest = self.start(arguments)
        guest.run(f"mount {spare} /mnt")
        guest.run(sums.format("/root/after"))
        count = guest.run("cmp /root/before /root/after && wc -l < /root/after")
        self.assertGreater(int(count), 300)
        self.assertIn("Hello, world!", guest.run("hello"))
        self.assertEqual(guest.run("systemctl --failed --no-legend --plain; true"), "")
        self.power_off(guest)
        print(f"{count} files equal")

    def qcow2(self):
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", path("mbr.img"), path("mbr.qcow2")], check=True)
        return path("mbr.qcow2")

    def raw(self):
        shutil.copy(path("mbr.img"), path("copy.img"))
        return path("copy.img")

    def check(self, image):
        subprocess.run(["qemu-img", "check", "-q", image], check=True)
        subprocess.run(["qemu-img", "convert", "-O", "raw", image, path("check.img")], check=True)
        disk_image.check_file_systems(path("check.img"))

    def test_raw_with_hda(self):
        self.lives_through_reboot(["-hda", self.raw()], "/dev/sda1", "/dev/sda2")
        disk_image.check_file_systems(path("copy.img"))

    def test_qcow2_with_hda(self):
        image = self.qcow2()
        self.lives_through_reboot(["-hda", image], "/dev/sda1", "/dev/sda2")
        self.check(image)

    def test_raw_on_virtio(self):
        self.lives_through_reboot(["-drive", f"file={self.raw()},format=raw,if=virtio"], "/dev/vda1", "/dev/vda2")
        disk_image.check_file_systems(path("copy.img"))

    def test_qcow2_on_virtio(self):
        image = self.qcow2()
        self.lives_through_reboot(["-drive", f"file={image},format=qcow2,if=virtio,discard=unmap,cache=none"], "/dev/vda1", "/dev/vda2")
        self.check(image)

    @unittest.skipIf(vga_screen.pyte is None, "skipped: there is no pyte")
    def test_login_on_the_vga_with_hda(self):
        self.login_on_the_vga(["-hda", self.raw()])

    @unittest.skipIf(vga_screen.pyte is None, "skipped: there is no pyte")
    def test_login_on_the_vga_with_virtio(self):
        self.login_on_the_vga(["-drive", f"file={self.qcow2()},format=qcow2,if=virtio"])

    def login_on_the_vga(self, disk):
        started = time.monotonic()
        with vga_screen.VgaScreen(PROGRAM, ["-smp", "2", *disk], memory="1024") as machine:
            machine.deadline = started + 600
            machine.wait_for("doppel login:")
            print(f"login on the VGA after {time.monotonic() - started:.1f} s", end="; ", flush=True)
            machine.send("root\r")
            machine.wait_for("root@doppel:~#")
            machine.send("clear; tty; echo $((6 * 7)) done\r")
            machine.wait_until(lambda: machine.lines[:2] == ["/dev/tty1", "42 done"], "the answer in the first rows")
            machine.send("poweroff\r")
            self.assertEqual(machine.wait(), 0)
            self.assertTrue(machine.terminal_is_restored())

    def test_ovmf(self):
        shutil.copy(VARIABLES, path("vars.fd"))
        efi_image.make_efi_disk(Debian(), WORK, path("gpt.img"), root_size=ROOT_SIZE, root_uuid=UUID)
        guest = self.start(["-pflash", CODE, "-pflash", path("vars.fd"), "-drive", f"file={path('gpt.img')},format=raw"])
        self.assertIn("/dev/sda2", guest.run("findmnt -n -o SOURCE /"))
        guest.run("test -d /sys/firmware/efi")
        self.power_off(guest)
        print("through OVMF")


def main():
    global WORK
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    with tempfile.TemporaryDirectory(prefix="doppel-debian-test-", dir=".") as WORK:
        try:
            disk_image.make_disk(Debian(), WORK, path("mbr.img"), root_size=ROOT_SIZE, spare_size=512 * MIB, uuid=UUID)
        except disk_image.Missing as missing:
            print(f"skipped: {missing}; scripts/fetch-guest debian gets it")
            sys.exit(77)
        done = unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2, exit=False)
    sys.exit(0 if done.result.wasSuccessful() else 1)


main()
