"""Makes a disk that UEFI firmware boots, without loop devices or root: a GUID partition table, an EFI system partition
with GRUB, and the installed Linux of disk_image.py on ext4 behind it."""
import os
import shutil
import struct
import subprocess
import uuid
import zlib

from disk_image import MIB, SECTOR, Missing, need, write

GRUB = "/usr/lib/grub/x86_64-efi"
GRUB_MODULES = ["part_gpt", "fat", "ext2", "normal", "configfile", "linux", "serial", "terminal", "echo"]
ESP_TYPE = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
LINUX_TYPE = "0fc63daf-8483-4772-8e79-3d69d8477de4"
ENTRIES = 128
ENTRY_SIZE = 128
TABLE_SECTORS = ENTRIES * ENTRY_SIZE // SECTOR


def header(own, other, table, sectors, entries_crc, disk_id):
    """UEFI 2.10, table 5-5; OWN, OTHER and TABLE are sectors."""
    def pack(crc):
        return struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, crc, 0, own, other, 2 + TABLE_SECTORS,
                           sectors - 2 - TABLE_SECTORS, disk_id, table, ENTRIES, ENTRY_SIZE, entries_crc)
    return pack(zlib.crc32(pack(0))).ljust(SECTOR, b"\0")


def write_table(image, size, partitions):
    """PARTITIONS are rows of type, first byte, bytes, name. The ids are the same in every run."""
    sectors = size // SECTOR
    entries = b""
    for number, (kind, first, length, name) in enumerate(partitions):
        entries += struct.pack("<16s16sQQQ72s", uuid.UUID(kind).bytes_le, uuid.UUID(int=number + 1).bytes_le,
                               first // SECTOR, (first + length) // SECTOR - 1, 0, name.encode("utf-16-le"))
    entries = entries.ljust(ENTRIES * ENTRY_SIZE, b"\0")
    crc = zlib.crc32(entries)
    disk_id = uuid.UUID(int=0x1234).bytes_le
    protective = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xee, b"\xff\xff\xff", 1, sectors - 1)
    image.seek(446)
    image.write(protective.ljust(64, b"\0") + b"\x55\xaa")
    image.write(header(1, sectors - 1, 2, sectors, crc, disk_id) + entries)
    image.seek(size - SECTOR * (1 + TABLE_SECTORS))
    image.write(entries + header(sectors - 1, 1, sectors - 1 - TABLE_SECTORS, sectors, crc, disk_id))


def make_efi_disk(guest, work, path, esp_size=16 * MIB, root_size=64 * MIB, root_uuid="random"):
    """An installed system that OVMF starts by the removable medium's path, EFI/BOOT/BOOTX64.EFI."""
    need([GRUB, shutil.which("mformat"), shutil.which("mcopy")])
    tree = guest.make_tree(work, "/dev/disk-a2")
    esp, root = MIB, MIB + esp_size
    size = root + root_size + MIB
    with open(path, "wb") as image:
        image.truncate(size)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, "-U", root_uuid, "-E",
                    f"offset={root},root_owner=0:0", path, f"{root_size // 1024}k"], check=True, stderr=subprocess.PIPE)
    loader = os.path.join(work, "bootx64.efi")
    early = os.path.join(work, "early.cfg")
    write(early, "serial --unit=0 --speed=115200\nterminal_output serial\nconfigfile (hd0,gpt2)/boot/grub/grub.cfg\n")
    subprocess.run(["grub-mkimage", "-O", "x86_64-efi", "-o", loader, "-p", "(hd0,gpt2)/boot/grub", "-c", early,
                    *GRUB_MODULES], check=True)
    drive = f"{path}@@{esp}"
    subprocess.run(["mformat", "-i", drive, "-T", str(esp_size // SECTOR), "-h", "64", "-s", "32", "::"], check=True)
    subprocess.run(["mmd", "-i", drive, "::/EFI", "::/EFI/BOOT"], check=True)
    subprocess.run(["mcopy", "-i", drive, loader, "::/EFI/BOOT/BOOTX64.EFI"], check=True)
    with open(path, "r+b") as image:
        write_table(image, size, [(ESP_TYPE, esp, esp_size, "EFI"), (LINUX_TYPE, root, root_size, "root")])


__all__ = ["Missing", "make_efi_disk"]
