#!/usr/bin/env python3
"""virtio_disk_test.py PROGRAM GUESTS [CASE...]: an installed Linux on virtio disks of both kinds, on the software accelerator.

SeaBIOS and GRUB load it by the BIOS's virtio driver, Linux goes on with its own; what it writes is there after a second
boot, and e2fsck finds nothing wrong. Exit status 77, with the reason, where something is missing."""
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import unittest

import disk_image
from terminal import PROMPT, Terminal

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM, GUESTS = sys.argv[1:3]
WORK = None  # a directory with disk.img


def terminal(arguments):
    return Terminal(PROGRAM, arguments)


def image(name):
    return os.path.join(WORK, name)


def fresh_disk(name):
    """A copy of the installed system."""
    shutil.copy(image("disk.img"), image(name))
    return image(name)


class VirtioDisk(unittest.TestCase):
    def write(self, arguments):
        """Boots with ARGUMENTS and writes 8 MiB; the checksum of that, and what the kernel had to say."""
        with terminal(arguments) as guest:
            guest.wait_for("disk-test: GRUB")
            guest.log_in()
            self.assertIn("/dev/vda1", guest.run("mount"))
            guest.run("mke2fs /dev/vda2 >/dev/null 2>&1")
            guest.run("mount /dev/vda2 /mnt")
            guest.run("dd if=/dev/urandom of=/mnt/data bs=64k count=128 2>/dev/null")
            written = guest.run("sha256sum < /mnt/data").split()[0]
            guest.run("sync")
            log = guest.run("dmesg")
            self.assertFalse(re.search(r"(I/O error|virtio.*(fail|error))", log), log[-3000:])
            # The last line: the terminal wraps long commands.
            facts = {name: guest.run(f"echo $(cat /sys/block/vda/{path})").split("\n")[-1]
                     for name, path in (("serial", "serial"), ("features", "device/features"),
                                        ("cache", "queue/write_cache"))}
            facts["queues"] = guest.run("echo $(ls /sys/block/vda/mq)").split("\n")[-1].split()
            facts["interrupts"] = guest.run("cat /proc/interrupts")
            self.assertEqual(guest.power_off(), 0)
        return written, facts

    def read(self, arguments, written):
        with terminal(arguments) as guest:
            guest.log_in()
            guest.run("mount -o ro /dev/vda2 /mnt")
            self.assertEqual(guest.run("sha256sum < /mnt/data").split()[0], written)
            self.assertEqual(guest.power_off(), 0)

    def survives(self, device, more=(), second=None):
        disk = fresh_disk(f"{self.id().split('.')[-1]}.img")
        started = time.monotonic()
        drive = ["-drive", f"file={disk},format=raw,if=none,id=d"]
        written, facts = self.write([*drive, "-device", f"virtio-blk-pci,drive=d,{device}", *more])
        disk_image.check_file_systems(disk)
        self.read([*drive, "-device", f"virtio-blk-pci,drive=d,{second or device}", *more], written)
        disk_image.check_file_systems(disk)
        os.remove(disk)
        print(f"{time.monotonic() - started:.1f} s for two boots with {device}")
        return facts

    def has_feature(self, facts, number):
        """sysfs shows features as a row of digits, bit 0 first."""
        return facts["features"][number] == "1"

    def test_if_virtio(self):
        disk = fresh_disk("plain.img")
        arguments = ["-drive", f"file={disk},format=raw,if=virtio,serial=plain-1"]
        written, facts = self.write(arguments)
        self.assertEqual(facts["serial"], "plain-1")
        self.assertTrue(self.has_feature(facts, 32), facts["features"])
        self.assertEqual(facts["cache"], "write back")
        self.assertRegex(facts["interrupts"], r"PCI-MSI.*virtio0-req")
        disk_image.check_file_systems(disk)
        self.read(arguments, written)

    def test_legacy_registers(self):
        facts = self.survives("disable-modern=on", second="disable-legacy=on")
        self.assertFalse(self.has_feature(facts, 32))

    def test_modern_registers(self):
        facts = self.survives("disable-legacy=on,serial=modern")
        self.assertTrue(self.has_feature(facts, 32))
        self.assertEqual(facts["serial"], "modern")

    def test_packed_queues(self):
        facts = self.survives("packed=on,bootindex=1")
        self.assertTrue(self.has_feature(facts, 34))

    def test_plain_queues(self):
        facts = self.survives("event_idx=off,indirect_desc=off,write-cache=off,queue-size=64")
        self.assertFalse(self.has_feature(facts, 28) or self.has_feature(facts, 29))
        self.assertEqual(facts["cache"], "write through")

    def test_packed_queues_without_event_index(self):
        self.survives("packed=on,event_idx=off,ioeventfd=off")

    def test_many_queues(self):
        facts = self.survives("num-queues=2,packed=on", more=["-smp", "2"], second="disable-legacy=on")
        self.assertEqual(facts["queues"], ["0", "1"])

    def test_interrupt_pin(self):
        facts = self.survives("vectors=0", second="vectors=0,disable-modern=on")
        self.assertRegex(facts["interrupts"], r"IO-APIC.*virtio0")

    def test_discard_reaches_the_image(self):
        """Zeroes that the guest has written, and what it discards, become holes."""
        disk = fresh_disk("sparse.img")
        with open(image("spare.img"), "wb") as file:
            file.write(os.urandom(8 << 20))
        with terminal(["-drive", f"file={disk},format=raw,if=virtio", "-drive",
                       f"file={image('spare.img')},format=raw,if=virtio,discard=unmap"]) as guest:
            guest.log_in()
            guest.run("blkdiscard /dev/vdb || fstrim /dev/vdb")
            self.assertEqual(guest.run("tr -d '\\0' < /dev/vdb | wc -c").split("\n")[-1], "0")
            self.assertEqual(guest.power_off(), 0)
        self.assertEqual(os.stat(image("spare.img")).st_blocks, 0)

    def test_reboot_with_requests_under_way(self):
        """Slow disks still work on memory of the kernel that is gone."""
        disk = fresh_disk("reboot.img")
        slow = []
        for name, home in (("slow0", ""), ("slow1", ",iothread=io0")):
            with open(image(name), "wb") as file:
                file.write(b"\xcc" * (16 << 20))
            slow += ["-drive", f"file={image(name)},format=raw,if=none,id={name},throttling.bps-total=2M",
                     "-device", f"virtio-blk-pci,drive={name}{home}"]
        arguments = ["-drive", f"file={disk},format=raw,if=none,id=d", "-device", "virtio-blk-pci,drive=d,bootindex=0",
                     "-object", "iothread,id=io0", *slow, "-action", "reboot=reset"]
        with terminal(arguments) as guest:
            guest.log_in()
            guest.run("mke2fs /dev/vda2 >/dev/null 2>&1; mount /dev/vda2 /mnt")
            guest.run("dd if=/dev/urandom of=/mnt/data bs=64k count=64 2>/dev/null; sync")
            written = guest.run("sha256sum < /mnt/data").split()[0]
            guest.type("for i in vdb vdc; do dd if=/dev/zero of=/dev/$i bs=64k seek=128; cat /dev/$i & done >/dev/null 2>&1")
            guest.type("umount /mnt; sync & sleep 1; reboot -f")
            guest.log_in()
            guest.run("mount /dev/vda2 /mnt")
            self.assertEqual(guest.run("sha256sum < /mnt/data").split()[0], written)
            self.assertEqual(guest.power_off(), 0)
        disk_image.check_file_systems(disk)
        for name in ("slow0", "slow1"):
            with open(image(name), "rb") as file:
                self.assertEqual(set(file.read()), {0xcc, 0})

    def test_read_only_image(self):
        disk = fresh_disk("only.img")
        with terminal(["-drive", f"file={disk},format=raw,if=virtio", "-drive",
                       f"file={image('disk.img')},format=raw,if=virtio,readonly=on"]) as guest:
            guest.log_in()
            self.assertEqual(guest.run("cat /sys/block/vdb/ro"), "1")
            guest.type("dd if=/dev/zero of=/dev/vdb bs=64k count=1 conv=fsync")
            self.assertRegex(guest.wait_for(PROMPT), r"[Ee]rror|permitted|[Rr]ead-only")
            guest.power_off()


class VirtioScsi(unittest.TestCase):
    def test_disks_and_a_cd(self):
        """Boots from unit 0 of target 0; other units are where they are said to be."""
        with open(image("spare.img"), "wb") as file:
            file.write(os.urandom(4 << 20))
        adapter = ["-device", "virtio-scsi-pci,id=s", "-smp", "2",
                   "-drive", f"file={image('scsi.img')},format=raw,if=none,id=a",
                   "-drive", f"file={image('spare.img')},format=raw,if=none,id=b,discard=unmap",
                   "-drive", f"file={image('cd.iso')},format=raw,if=none,id=c",
                   "-device", "scsi-hd,drive=a,bus=s.0,scsi-id=0,bootindex=0,serial=first",
                   "-device", "scsi-hd,drive=b,bus=s.0,scsi-id=3,lun=5,serial=spare",
                   "-device", "scsi-cd,drive=c,bus=s.0,scsi-id=4"]
        with terminal(adapter) as guest:
            guest.wait_for("disk-test: GRUB")
            guest.log_in()
            self.assertIn("/dev/disk-a1", guest.run("mount"))
            places = guest.run("echo $(ls /sys/bus/scsi/devices)").split("\n")[-1].split()
            for place in ("0:0:0:0", "0:0:3:5", "0:0:4:0"):
                self.assertIn(place.split(":", 1)[1], [name.split(":", 1)[-1] for name in places])
            guest.run("mount -t iso9660 -o ro /dev/sr0 /mnt && test -s /mnt/boot/vmlinuz && umount /mnt")
            guest.run("blkdiscard /dev/disk-b || fstrim /dev/disk-b")
            self.assertEqual(guest.run("tr -d '\\0' < /dev/disk-b | wc -c").split("\n")[-1], "0")
            guest.run("mke2fs /dev/disk-a2 >/dev/null 2>&1")
            guest.run("mount /dev/disk-a2 /mnt")
            guest.run("dd if=/dev/urandom of=/mnt/data bs=64k count=128 2>/dev/null")
            written = guest.run("sha256sum < /mnt/data").split()[0]
            guest.run("sync")
            log = guest.run("dmesg")
            self.assertFalse(re.search(r"(I/O error|Sense Key|virtio.*fail)", log), log[-3000:])
            self.assertEqual(guest.power_off(), 0)
        self.assertEqual(os.stat(image("spare.img")).st_blocks, 0)
        disk_image.check_file_systems(image("scsi.img"))
        adapter[1] += ",disable-legacy=on,packed=on"
        with terminal(adapter) as guest:
            guest.log_in()
            guest.run("mount -o ro /dev/disk-a2 /mnt")
            self.assertEqual(guest.run("sha256sum < /mnt/data").split()[0], written)
            self.assertEqual(guest.power_off(), 0)


class IoThreads(unittest.TestCase):
    """Disks whose queues are worked on in threads of their own."""

    def threads(self, guest):
        """How often each thread of the machine has slept, by its name."""
        tasks = f"/proc/{guest.process.pid}/task"
        slept = {}
        for task in os.listdir(tasks):
            with open(f"{tasks}/{task}/comm") as name, open(f"{tasks}/{task}/status") as status:
                slept[name.read().strip()] = int(re.search(r"\nvoluntary_ctxt_switches:\s+(\d+)", status.read())[1])
        return slept

    def test_two_threads(self):
        """The system on virtio-blk in one thread, a file system on virtio-scsi in another."""
        disk = fresh_disk("threads.img")
        with open(image("spare.img"), "wb") as file:
            file.truncate(32 << 20)
        arguments = ["-smp", "2", "-object", "iothread,id=io0", "-object", "iothread,id=io1",
                     "-drive", f"file={disk},format=raw,if=none,id=a",
                     "-drive", f"file={image('spare.img')},format=raw,if=none,id=b,discard=unmap",
                     "-device", "virtio-blk-pci,drive=a,iothread=io0,bootindex=0",
                     "-device", "virtio-scsi-pci,id=s,iothread=io1", "-device", "scsi-hd,drive=b,bus=s.0,lun=1"]
        sums = "sha256sum /mnt/data /media/data | cut -d' ' -f1"
        with terminal(arguments) as guest:
            guest.log_in()
            self.assertIn("/dev/vda1", guest.run("mount"))
            guest.run("mkdir -p /media; mke2fs /dev/vda2 >/dev/null 2>&1; mke2fs /dev/disk-a >/dev/null 2>&1")
            guest.run("mount /dev/vda2 /mnt; mount /dev/disk-a /media")
            before = self.threads(guest)
            # Both at once, and each from another processor.
            guest.run("(dd if=/dev/urandom of=/mnt/data bs=16k count=512 conv=fsync 2>/dev/null &"
                      " dd if=/dev/urandom of=/media/data bs=16k count=512 conv=fsync 2>/dev/null; wait)")
            guest.run("sync; echo 3 > /proc/sys/vm/drop_caches")
            written = guest.run(sums).split("\n")[-2:]
            after = self.threads(guest)
            for name in ("IO io0", "IO io1"):
                self.assertGreater(after[name] - before[name], 20, f"{name}: {before} {after}")
            log = guest.run("dmesg")
            self.assertFalse(re.search(r"(I/O error|Sense Key|virtio.*(fail|error))", log), log[-3000:])
            interrupts = guest.run("cat /proc/interrupts")
            self.assertRegex(interrupts, r"PCI-MSI.*virtio0-req")
            self.assertRegex(interrupts, r"PCI-MSI.*virtio1-request")
            self.assertEqual(guest.power_off(), 0)
        disk_image.check_file_systems(disk)
        checked = subprocess.run(["e2fsck", "-fn", image("spare.img")], capture_output=True, text=True)
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        with terminal(arguments) as guest:
            guest.log_in()
            guest.run("mkdir -p /media; mount -o ro /dev/vda2 /mnt; mount -o ro /dev/disk-a /media")
            self.assertEqual(guest.run(sums).split("\n")[-2:], written)
            self.assertRegex(" ".join(written), "^[0-9a-f]{64} [0-9a-f]{64}$")
            self.assertEqual(guest.power_off(), 0)

    def test_reset_and_interrupt_pin(self):
        """The machine is reset in the middle of writing, three times; by the legacy registers and INTx."""
        disk = fresh_disk("reset.img")
        with open(image("spare.img"), "wb") as file:
            file.truncate(64 << 20)
        arguments = ["-smp", "2", "-action", "reboot=reset", "-object", "iothread,id=io0",
                     "-drive", f"file={disk},format=raw,if=none,id=a,snapshot=on",
                     "-drive", f"file={image('spare.img')},format=raw,if=none,id=b",
                     "-device", "virtio-blk-pci,drive=a,iothread=io0",
                     "-device", "virtio-blk-pci,drive=b,iothread=io0,vectors=0,disable-modern=on"]
        with terminal(arguments) as guest:
            for _ in range(3):
                guest.log_in()
                guest.deadline += 60  # for the next boot
                guest.type("(dd if=/dev/zero of=/dev/vdb bs=64k count=900 oflag=direct & sleep 0.3;"
                           " echo b > /proc/sysrq-trigger)")
            guest.log_in()
            guest.run("tr -d '\\0' < /dev/vdb | wc -c | grep -x 0")
            self.assertRegex(guest.run("cat /proc/interrupts"), r"IO-APIC.*virtio")
            self.assertEqual(guest.power_off(), 0)


def kvm_error():
    """Why there is no KVM, or None."""
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR))
        return None
    except OSError as error:
        return f"skipped: /dev/kvm: {error.strerror}"


class Firmware(unittest.TestCase):
    """A boot sector that reads and writes by SeaBIOS's driver: short enough for a KVM that interprets."""

    def boot(self, accel, device):
        subprocess.run(["nasm", "-f", "bin", "-o", image("boot.bin"), os.path.join(HERE, "disk_sectors.asm")], check=True)
        with open(image("boot.bin"), "rb") as file:
            contents = file.read() + os.urandom((1 << 20) - 512)
        expected = 0
        for (word,) in struct.iter_unpack("<I", contents):
            expected = ((expected << 1 | expected >> 31) + word) & 0xFFFFFFFF
        path = image("sectors.img")
        with open(path, "wb") as file:
            file.write(contents)
            file.truncate(2 << 20)
        with Terminal(PROGRAM, ["-object", "iothread,id=io0", "-drive", f"file={path},format=raw,if=none,id=a", *device,
                                "-device", "isa-debug-exit,iobase=0xf4"], accel=["-accel", accel]) as guest:
            guest.wait_for("sum ")
            self.assertEqual(guest.wait_for("done").split(), [f"{expected:08X}"] * 2)
            while guest.more():
                pass
        with open(path, "rb") as file:
            self.assertEqual(file.read(1 << 20), contents)
            self.assertEqual(file.read(4), struct.pack("<I", expected))

    def test_soft(self):
        self.boot("soft", ["-device", "virtio-blk-pci,drive=a,iothread=io0"])

    @unittest.skipIf(kvm_error(), kvm_error())
    def test_kvm_virtio_blk(self):
        self.boot("kvm", ["-device", "virtio-blk-pci,drive=a,iothread=io0"])

    @unittest.skipIf(kvm_error(), kvm_error())
    def test_kvm_virtio_scsi(self):
        self.boot("kvm", ["-device", "virtio-scsi-pci,id=s,iothread=io0", "-device", "scsi-hd,drive=a,bus=s.0"])


def main():
    global WORK
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    with tempfile.TemporaryDirectory(prefix="doppel-virtio-test-", dir=".") as WORK:
        try:
            disk_image.need([shutil.which("e2fsck"), shutil.which("nasm")])
            guest = disk_image.Guest(GUESTS)
            for name, root in (("disk.img", "/dev/vda1"), ("scsi.img", "/dev/disk-a1")):
                with tempfile.TemporaryDirectory() as scratch:
                    disk_image.make_disk(guest, scratch, image(name), root=root)
            with tempfile.TemporaryDirectory() as scratch:
                disk_image.make_iso(guest, scratch, image("cd.iso"))
        except disk_image.Missing as missing:
            print(f"skipped: {missing}; scripts/fetch-guest gets the guest")
            sys.exit(77)
        done = unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2, exit=False)
    sys.exit(0 if done.result.wasSuccessful() else 1)


main()
