"""Makes disk images with an installed Linux, without loop devices or root: an MBR with GRUB, Debian's kernel and an
initramfs that loads the modules it needs, busybox on ext4 behind them."""
import glob
import gzip
import os
import re
import shutil
import struct
import subprocess
import tempfile

SECTOR = 512
MIB = 1 << 20
FIRST_PARTITION = 1 * MIB
GRUB = "/usr/lib/grub/i386-pc"
GRUB_MODULES = ["biosdisk", "part_msdos", "ext2", "iso9660", "normal", "configfile", "linux", "serial", "terminal", "echo"]
DISK_MODULES = ["ata_piix", "ahci", "nvme", "sd_mod", "sr_mod", "ext4", "isofs", "crc32c_generic", "crct10dif_generic"]

INITRAMFS_INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in /modules/*; do insmod "$module" || echo "disk-test: $module does not load"; done
# /dev/disk-a, -b and so on by their places, since the letters of /dev/sd* are those of a race. False: some are missing.
name_disks() {
  set -- a b c d e f
  for device in /sys/bus/scsi/devices/*:*:*:*; do
    [ "$(cat "$device/type" 2>/dev/null)" = 0 ] || continue
    disk=$(ls "$device/block" 2>/dev/null)
    [ -b "/dev/$disk" ] || return 1
    for node in /dev/$disk*; do ln -sf "$node" "/dev/disk-$1${node#/dev/$disk}"; done
    shift
  done
}
root=$(sed 's/.*root=\\([^ ]*\\).*/\\1/' /proc/cmdline)
tries=0
while ! name_disks || [ ! -b "$root" ]; do
  [ $tries -lt 600 ] || break
  sleep 0.1
  tries=$((tries + 1))
done
mount "$root" /root || exec sh
mount --move /dev /root/dev
exec switch_root /root /sbin/init
"""

INIT = """#!/bin/busybox sh
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -o remount,rw / 2>/dev/null
hostname doppel
echo "disk-test: root is $(sed -n 's/ \\/ .*//p' /proc/mounts | tail -n 1)"
while :; do getty -L 115200 ttyS0 vt100; done
"""

GRUB_CONFIG = """serial --unit=0 --speed=115200
terminal_output serial
echo "disk-test: GRUB"
linux /boot/vmlinuz root={root} console=ttyS0 panic=-1 quiet
initrd /boot/initrd.gz
boot
"""

DISK_MODULES += ["virtio_pci", "virtio_blk", "virtio_scsi"]


class Missing(Exception):
    """What a test needs and this host has not."""


def need(paths):
    for path in paths:
        if not path or not os.path.exists(path):
            raise Missing(f"{path or 'a kernel package'} is missing")


def cpio(tree):
    """An archive of TREE as the kernel takes it for an initramfs."""
    names = subprocess.run(["find", "."], cwd=tree, check=True, stdout=subprocess.PIPE).stdout
    return subprocess.run(["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0"], cwd=tree, input=names, check=True,
                          stdout=subprocess.PIPE).stdout


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    os.chmod(path, mode)


class Guest:
    """What scripts/fetch-guest leaves."""

    grub_config = GRUB_CONFIG
    init = INIT

    def __init__(self, directory):
        self.kernel = os.path.join(directory, "vmlinuz")
        self.busybox = os.path.join(directory, "busybox-amd64/bin/busybox")
        self.modules = next(iter(sorted(glob.glob(os.path.join(directory, "linux-image-*-amd64/lib/modules/*")))), "")
        need([self.kernel, self.busybox, self.modules, GRUB, shutil.which("grub-mkimage"), shutil.which("mke2fs")])

    def module_files(self):
        """DISK_MODULES with what they depend on, in the order of loading."""
        found = {os.path.basename(path)[:-3].replace("-", "_"): path
                 for path in glob.glob(os.path.join(self.modules, "**/*.ko"), recursive=True)}
        order = []

        def add(name):
            name = name.replace("-", "_")
            if name not in found or found[name] in order:
                return
            with open(found[name], "rb") as file:
                depends = re.search(rb"\0depends=([^\0]*)", file.read())
            for other in depends[1].decode().split(",") if depends else []:
                add(other)
            order.append(found[name])

        for name in DISK_MODULES:
            add(name)
        return order

    def make_initramfs(self, work):
        tree = os.path.join(work, "initramfs")
        write(os.path.join(tree, "init"), INITRAMFS_INIT, 0o755)
        for name in ("bin", "dev", "proc", "sys", "root", "modules"):
            os.makedirs(os.path.join(tree, name), exist_ok=True)
        shutil.copy(self.busybox, os.path.join(tree, "bin"))
        for number, path in enumerate(self.module_files()):
            stripped = os.path.join(tree, "modules", f"{number:02}-{os.path.basename(path)}")
            subprocess.run(["objcopy", "--strip-debug", path, stripped], check=True)
        return gzip.compress(cpio(tree), 6)

    def make_tree(self, work, root):
        """The files of an installed system."""
        tree = os.path.join(work, "tree")
        for name in ("bin", "sbin", "dev", "proc", "sys", "root", "mnt", "usr/bin", "usr/sbin", "boot"):
            os.makedirs(os.path.join(tree, name), exist_ok=True)
        shutil.copy(self.busybox, os.path.join(tree, "bin"))
        for applet in subprocess.run([self.busybox, "--list"], check=True, stdout=subprocess.PIPE).stdout.decode().split():
            if applet != "busybox":
                os.symlink("busybox", os.path.join(tree, "bin", applet))
        write(os.path.join(tree, "sbin/init"), self.init, 0o755)
        write(os.path.join(tree, "etc/passwd"), "root::0:0:root:/root:/bin/sh\n")
        write(os.path.join(tree, "etc/group"), "root:x:0:\n")
        shutil.copy(self.kernel, os.path.join(tree, "boot/vmlinuz"))
        with open(os.path.join(tree, "boot/initrd.gz"), "wb") as file:
            file.write(self.make_initramfs(work))
        write(os.path.join(tree, "boot/grub/grub.cfg"), self.grub_config.format(root=root))
        return tree


def partition_entry(first, size, bootable):
    """A row of the MBR's table, in bytes; CHS fields are those of what is beyond CHS."""
    beyond = b"\xfe\xff\xff"
    return struct.pack("<B3sB3sII", 0x80 if bootable else 0, beyond, 0x83, beyond, first // SECTOR, size // SECTOR)


def write_boot_code(image, work):
    """GRUB's boot sector and, right behind it, its core, as both expect by default."""
    core = os.path.join(work, "core.img")
    subprocess.run(["grub-mkimage", "-O", "i386-pc", "-o", core, "-p", "(hd0,msdos1)/boot/grub", *GRUB_MODULES], check=True)
    with open(os.path.join(GRUB, "boot.img"), "rb") as file:
        boot = file.read()
    with open(core, "rb") as file:
        data = file.read()
    if SECTOR + len(data) > FIRST_PARTITION:
        raise Missing("GRUB's core is too large for the gap behind the MBR")
    image.seek(0)
    image.write(boot[:440])
    image.seek(SECTOR)
    image.write(data)


def make_disk(guest, work, path, root_size=64 * MIB, spare_size=64 * MIB, root="/dev/disk-a1", uuid="random"):
    """An installed system on the first partition of PATH, whose file system has UUID; the second is empty."""
    tree = guest.make_tree(work, root)
    with open(path, "wb") as image:
        image.truncate(FIRST_PARTITION + root_size + spare_size)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, "-U", uuid, "-E",
                    f"offset={FIRST_PARTITION},root_owner=0:0", path, f"{root_size // 1024}k"], check=True, stderr=subprocess.PIPE)
    with open(path, "r+b") as image:
        write_boot_code(image, work)
        image.seek(446)
        image.write(partition_entry(FIRST_PARTITION, root_size, True))
        image.write(partition_entry(FIRST_PARTITION + root_size, spare_size, False))
        image.seek(510)
        image.write(b"\x55\xaa")


def check_file_systems(path):
    """Has e2fsck look at both partitions of the disk in PATH."""
    part = path + ".part"
    for number in (0, 1):
        with open(path, "rb") as disk:
            disk.seek(446 + 16 * number + 8)
            first, size = (int.from_bytes(disk.read(4), "little") * SECTOR for _ in range(2))
        subprocess.run(["dd", f"if={path}", f"of={part}", "bs=64k", "iflag=skip_bytes,count_bytes", f"skip={first}",
                        f"count={size}", "status=none"], check=True)
        found = subprocess.run(["e2fsck", "-f", "-n", part], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if found.returncode != 0:
            raise AssertionError(found.stdout.decode())


def make_iso(guest, work, path):
    """The same system on a CD-ROM, made bootable by grub-mkrescue."""
    need([shutil.which("grub-mkrescue"), shutil.which("xorriso"), shutil.which("mformat")])
    tree = guest.make_tree(work, "/dev/sr0")
    subprocess.run(["grub-mkrescue", "-o", path, "--install-modules=" + " ".join(GRUB_MODULES), "--fonts=", "--locales=",
                    "--themes=", "-d", GRUB, tree], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def make_fio_disk(path):
    """A file system with fio and all that it loads, in one directory. Mounted at /mnt, FIO runs it."""
    fio = shutil.which("fio")
    need([fio])
    libraries = subprocess.run(["ldd", fio], check=True, stdout=subprocess.PIPE).stdout.decode()
    with tempfile.TemporaryDirectory() as tree:
        for name in [fio, *re.findall(r"(?:=> |^\s*)(/\S+)", libraries, re.MULTILINE)]:
            shutil.copy(name, tree)
        os.rename(os.path.join(tree, "ld-linux-x86-64.so.2"), os.path.join(tree, "loader"))
        subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, path, "192m"], check=True, stderr=subprocess.PIPE)


FIO = "/mnt/loader --library-path /mnt /mnt/fio --thread --direct=1 --ioengine=libaio"
