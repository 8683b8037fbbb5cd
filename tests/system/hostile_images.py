"""Damaged and malicious disk images, the same ones each time: for each format an iterator of (name, make), where make()
gives files by name, the first of which is the image.

Sound images come from doppel-img. What is done to them: cut off at many places; every header field set to what is
likely to overflow, divide by zero or point into something else, with checksums made right again and without; tables
that loop, overlap, point everywhere; bytes of metadata at random; chains that never end; names that are none.
"""
import os
import random
import struct
import subprocess
import tempfile
from functools import partial

from vhdx_log import log_entry, with_checksum

KIB, MIB = 1 << 10, 1 << 20
DISK = 4 * MIB


def _sound(tool, format_, options, compressed=False, bitmaps=()):
    """All files of a sound image that holds a little, by name."""
    with tempfile.TemporaryDirectory() as directory:
        source, image = os.path.join(directory, "source"), os.path.join(directory, f"disk.{format_}")
        chance = random.Random(7)
        with open(source, "wb") as file:
            file.truncate(DISK)
            for place in (0, 70 * KIB, MIB + 5 * KIB, 3 * MIB + 9 * KIB):
                file.seek(place)
                file.write(chance.randbytes(4 * KIB) + bytes([place % 251]) * 6000)
        words = [tool, "convert", "-f", "raw", "-O", format_] + (["-c"] if compressed else [])
        subprocess.run([*words, *(["-o", options] if options else []), source, image], check=True, timeout=60)
        for words in bitmaps:
            subprocess.run([tool, "bitmap", *words[:-1], image, words[-1]], check=True, timeout=60)
        if bitmaps:  # so that they have something to record
            subprocess.run([tool, "convert", "-n", "-f", "raw", "-O", format_, source, image], check=True, timeout=60)
        os.unlink(source)
        if format_ == "qcow2":
            subprocess.run([tool, "snapshot", "-c", "one", image], check=True, timeout=60)
        names = sorted(os.listdir(directory), key=lambda name: (name != f"disk.{format_}", name))
        files = {}
        for name in names:
            with open(os.path.join(directory, name), "rb") as file:
                files[name] = file.read()
        return files


def _cuts(image, starts):
    """Lengths to cut it off at: around all that begins somewhere, and through all of it."""
    size = len(image)
    places = {0, 1, 3, 4, 7, 8, 63, 64, 65, 100, 511, 512, 513, 1023, 1024, 4095, 4096, 65535, 65536, size - 1, size - 511, size - 512, size - 513}
    for start in starts:
        places |= {start - 1, start, start + 1, start + 4, start + 512}
    places |= {size * n // 16 for n in range(16)}
    return sorted(place for place in places if 0 <= place < size)


def _values(width, current, size):
    """What is likely to break a reader of a field of WIDTH bytes."""
    top = (1 << 8 * width) - 1
    values = {0, 1, 2, 3, 7, 511, 512, top, top - 1, top - 511, top >> 1, (top >> 1) + 1, top >> 2, 1 << (8 * width - 4), current + 1, current * 2, current - 1,
              current ^ 0x200, size, size - 1, size // 512, 0x10000}
    if width == 8:
        values |= {1 << 62, (1 << 62) + 512, 1 << 55, 0x7ffffffffffffe00, 1 << 40}
    return sorted({value & top for value in values} - {current})


class Base:
    """A sound image, and where what is in it. FIELDS: (offset, width); TABLES: (offset, width, entries)."""

    def __init__(self, name, files, order, fields, tables, metadata, repair=None):
        self.name, self.files, self.order = name, files, order
        self.fields, self.tables, self.metadata = fields, tables, metadata
        self.repair = repair  # makes checksums right
        self.main = next(iter(files))
        self.image = files[self.main]

    def with_image(self, image):
        return {**self.files, self.main: bytes(image)}

    def get(self, offset, width):
        return int.from_bytes(self.image[offset:offset + width], self.order)

    def put(self, image, offset, width, value):
        image[offset:offset + width] = (value & (1 << 8 * width) - 1).to_bytes(width, self.order)

    def fixed(self, image):
        return self.repair(image) if self.repair else image

    def corpus(self):
        for length in _cuts(self.image, [offset for offset, _, _ in self.tables]):
            yield f"{self.name}/cut-{length}", partial(self.cut, length)
        for offset, width in self.fields:
            for value in _values(width, self.get(offset, width), len(self.image)):
                yield f"{self.name}/field-{offset:#x}={value:#x}", partial(self.set, [(offset, width, value)], True)
                if self.repair and value in (0, 1, 512):
                    yield f"{self.name}/field-{offset:#x}={value:#x}-unsummed", partial(self.set, [(offset, width, value)], False)
        for offset, width, entries in self.tables:
            for value in self.table_values(offset, width, entries):
                for count in (1, entries):
                    changes = [(offset + i * width, width, value) for i in range(count)]
                    yield f"{self.name}/table-{offset:#x}-{count}={value:#x}", partial(self.set, changes, True)
        for n in range(60):
            yield f"{self.name}/random-{n}", partial(self.shuffled, n)
        for n in range(10):
            yield f"{self.name}/moved-{n}", partial(self.moved, n)

    def cut(self, length):
        return self.with_image(self.image[:length])

    def set(self, changes, repaired):
        image = bytearray(self.image)
        for offset, width, value in changes:
            self.put(image, offset, width, value)
        return self.with_image(self.fixed(image) if repaired else image)

    def shuffled(self, n):
        chance = random.Random(f"{self.name} {n}")
        image = bytearray(self.image)
        for _ in range(chance.randrange(1, 12)):
            begin, end = chance.choice(self.metadata)
            image[chance.randrange(begin, end)] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])
        return self.with_image(self.fixed(image) if n % 3 else image)

    def moved(self, n):
        chance = random.Random(f"{self.name} moved {n}")
        image = bytearray(self.image)
        (begin, end), (other, _) = chance.choice(self.metadata), chance.choice(self.metadata)
        image[other:other + end - begin] = image[begin:end]
        return self.with_image(image[:len(self.image)])

    def table_values(self, offset, width, entries):
        top, size = (1 << 8 * width) - 1, len(self.image)
        stored = [self.get(offset + i * width, width) for i in range(entries)]
        first = next((value for value in stored if value not in (0, top)), 1)
        values = {0, 1, 2, 6, 7, 512, offset, offset // 512, offset | 6, offset | 1 << 63, first, first + 1, first ^ 0x200, top, top - 1, top - 2, top >> 1, top << 20, size, size // 512,
                  size - 512 | 1 << 63, 1 << 62}
        return sorted({value & top for value in values})


def _vdi(tool):
    fields = [(offset, 4) for offset in (0x40, 0x44, 0x48, 0x4C, 0x50, 0x154, 0x158, 0x15C, 0x160, 0x164, 0x168, 0x178, 0x17C, 0x180, 0x184)]
    fields += [(0x170, 8), (0x1A8, 8), (0x1B8, 8)]
    for options in ("", "static=on"):
        files = _sound(tool, "vdi", options)
        yield Base(f"vdi-{options or 'dynamic'}", files, "little", fields, [(0x200, 4, 4)], [(0x40, 0x60), (0x150, 0x220)])


def _vpc_sum(image, begin, end, place):
    image[place:place + 4] = bytes(4)
    image[place:place + 4] = struct.pack(">I", ~sum(image[begin:end]) & 0xFFFFFFFF)


def _vpc(tool):
    def repair(image):
        if len(image) >= 1536 and image[512:514] == b"cx":
            _vpc_sum(image, 512, 1536, 512 + 36)
        _vpc_sum(image, 0, 512, 64)
        _vpc_sum(image, len(image) - 512, len(image), len(image) - 512 + 64)
        image[-512:] = image[:512]
        return image

    def repair_fixed(image):
        _vpc_sum(image, len(image) - 512, len(image), len(image) - 512 + 64)
        return image

    footer = [(8, 4), (12, 4), (16, 8), (28, 4), (40, 8), (48, 8), (56, 2), (58, 1), (59, 1), (60, 4), (84, 1)]
    dynamic = [(512 + offset, width) for offset, width in ((0, 8), (8, 8), (16, 8), (24, 4), (28, 4), (32, 4))]
    for options in ("", "force_size=on"):
        files = _sound(tool, "vpc", options)
        yield Base(f"vpc-{options or 'dynamic'}", files, "big", footer + dynamic, [(1536, 4, 3)], [(0, 84), (512, 552), (1536, 1548)], repair)
    files = _sound(tool, "vpc", "subformat=fixed")
    end = len(files["disk.vpc"]) - 512
    yield Base("vpc-fixed", files, "big", [(end + offset, width) for offset, width in footer], [], [(end, end + 85)], repair_fixed)


def _vhdx(tool):
    heads, regions = (64 * KIB, 128 * KIB), (192 * KIB, 256 * KIB)

    def repair(image):
        for place, size in [(head, 4096) for head in heads] + [(region, 64 * KIB) for region in regions]:
            image[place:place + size] = with_checksum(bytes(image[place:place + size]))
        return image

    def both(image):
        """What is done to the second header and table is done to the first."""
        image[heads[0]:heads[0] + 4096] = image[heads[1]:heads[1] + 4096]
        image[regions[1]:regions[1] + 512] = image[regions[0]:regions[0] + 512]
        return repair(image)

    files = _sound(tool, "vhdx", "block_size=1M")
    table = regions[0]
    fields = [(heads[1] + offset, width) for offset, width in ((0, 4), (8, 8), (48, 8), (64, 2), (66, 2), (68, 4), (72, 8))]
    fields += [(table + offset, width) for offset, width in ((0, 4), (8, 4), (16, 8), (32, 8), (40, 4), (44, 4), (64, 8), (72, 4), (76, 4))]
    metadata = 2 * MIB
    fields += [(metadata + offset, width) for offset, width in ((0, 8), (10, 2), (32, 8), (48, 4), (52, 4), (56, 4), (80, 4), (84, 4), (112, 4), (144, 4), (176, 4))]
    fields += [(metadata + 64 * KIB + offset, width) for offset, width in ((0, 4), (4, 4), (8, 8), (32, 4), (36, 4))]
    ranges = [(heads[1], heads[1] + 80), (table, table + 80), (metadata, metadata + 200), (metadata + 64 * KIB, metadata + 64 * KIB + 40), (3 * MIB, 3 * MIB + 40)]
    base = Base("vhdx", files, "little", fields, [(3 * MIB, 8, 4)], ranges, both)
    yield base
    yield from _vhdx_logs(base, repair)


def _vhdx_logs(base, repair):
    """Images with a log: sound entries, then damaged and malicious ones."""
    log_id, size = bytes(range(1, 17)), len(base.image)
    data = random.Random(3).randbytes(4096)
    entry = log_entry(log_id, 5, 0, [(4 * MIB, data), (3 * MIB, data)], [(4 * MIB + 8192, 4096)], size)
    fields = [(offset, 4) for offset in (0, 8, 12, 24)] + [(16, 8), (48, 8), (56, 8)] + [(64 + offset, 8) for offset in (0, 8, 16, 24, 32, 40, 48, 72, 80, 88)] + [(4096, 4), (4100, 4)]
    entries = [("sound", entry)]
    for offset, width in fields:
        for value in _values(width, int.from_bytes(entry[offset:offset + width], "little"), size)[::3]:
            changed = entry[:offset] + value.to_bytes(width, "little") + entry[offset + width:]
            entries.append((f"{offset:#x}={value:#x}", with_checksum(changed)))
    # Every sector an entry as long as the ring, each beginning at itself.
    ring = b"".join(log_entry(log_id, 1000 + n, n * 4096, [], [], size) for n in range(256))
    entries.append(("all-sectors", ring))
    long_entry = b"".join(with_checksum(ring[n * 4096:n * 4096 + 8] + struct.pack("<I", MIB) + ring[n * 4096 + 12:n * 4096 + 4096]) for n in range(256))
    entries.append(("overlapping", long_entry))
    entries.append(("far", log_entry(log_id, 1, 0, [(1 << 61, data)], [(0, 1 << 61)], 1 << 61)))
    entries.append(("over-the-header", log_entry(log_id, 1, 0, [(64 * KIB, data), (128 * KIB, data)], [(192 * KIB, 128 * KIB)], size)))
    def logged(content):
        image = bytearray(base.image)
        image[MIB:MIB + len(content)] = content
        for head in (64 * KIB, 128 * KIB):
            image[head + 48:head + 64] = log_id
        return base.with_image(repair(image))

    for name, content in entries:
        yield Variant(f"vhdx-log/{name}", partial(logged, content))


class Variant:
    """One image that no table made."""

    def __init__(self, name, files):
        self.name, self.files = name, files

    def make(self):
        return self.files() if callable(self.files) else self.files

    def corpus(self):
        yield self.name, self.make


def _qed(tool):
    fields = [(0, 4), (4, 4), (8, 4), (12, 4), (16, 8), (24, 8), (32, 8), (40, 8), (48, 8), (56, 4), (60, 4)]
    for options in ("", "cluster_size=4k,table_size=2"):
        files = _sound(tool, "qed", options)
        image = files["disk.qed"]
        cluster, l1 = struct.unpack_from("<I", image, 4)[0], struct.unpack_from("<Q", image, 40)[0]
        l2 = struct.unpack_from("<Q", image, l1)[0]
        entries = min(64, DISK // cluster)
        yield Base(f"qed-{options or '64k'}", files, "little", fields, [(l1, 8, 2), (l2, 8, entries)], [(0, 64), (l1, l1 + 16), (l2, l2 + entries * 8)])
    image = files["disk.qed"]
    for name, backing in _BACKINGS:
        changed = bytearray(image)
        changed[16] |= 1
        changed[56:64] = struct.pack("<II", 64, len(backing))
        changed[64:64 + len(backing)] = backing
        yield Variant(f"qed-backing/{name}", {"disk.qed": bytes(changed), "other": bytes(changed).replace(b"disk.qed", b"other\0\0\0")})


# Names that an image may give its backing file, itself named disk.FORMAT, with a file "other" that is the same image.
_BACKINGS = [
    ("empty", b""), ("dot", b"."), ("newline", b"a\nb\x1b[31m\r"), ("absent", b"/nonexistent/x"), ("zero", b"/dev/zero"), ("null", b"/dev/null"),
    ("tty", b"/dev/tty"), ("nul", b"\0\0\0"), ("bytes", bytes(range(1, 256))), ("long", b"a" * 900), ("up", b"../" * 200), ("protocol", b"nbd://localhost/x"), ("json", b'json:{"driver":"null-co"}'),
    ("nullco", b"null-co://"), ("file", b"file:disk.qed"), ("self-qed", b"disk.qed"), ("self-dot-qed", b"./disk.qed"), ("self-qcow2", b"disk.qcow2"),
    ("self-dots-qcow2", b"././disk.qcow2"), ("other", b"other"), ("proc", b"/proc/self/fd/0"), ("mem", b"/proc/self/mem"), ("fifo", b"FIFO"), ("slash", b"disk.qed/"),
]


def _qcow2(tool):
    fields = [(4, 4), (8, 8), (16, 4), (20, 4), (24, 8), (32, 4), (36, 4), (40, 8), (48, 8), (56, 4), (60, 4), (64, 8), (72, 8), (80, 8), (88, 8), (96, 4), (100, 4), (104, 1), (112, 4), (116, 4)]
    for options, compressed in (("cluster_size=4k", False), ("cluster_size=64k,compression_type=zstd", True)):
        files = _sound(tool, "qcow2", options, compressed)
        image = files["disk.qcow2"]
        l1, table, snapshots = (struct.unpack_from(">Q", image, offset)[0] for offset in (40, 48, 64))
        mask = (1 << 56) - 512
        l2, block = (struct.unpack_from(">Q", image, offset)[0] & mask for offset in (l1, table))
        tables = [(l1, 8, 2), (l2, 8, 64), (table, 8, 2), (block, 2, 64)]
        more = [(snapshots + offset, width) for offset, width in ((0, 8), (8, 4), (12, 2), (14, 2), (32, 4), (36, 4))]
        ranges = [(0, 120), (l1, l1 + 16), (l2, l2 + 512), (table, table + 16), (block, block + 128), (snapshots, snapshots + 64)]
        yield Base(f"qcow2-{options}", files, "big", fields + more, tables, ranges)
    yield _qcow2_bitmaps(tool)
    for name, backing in _BACKINGS:
        changed = bytearray(image)
        changed[8:20] = struct.pack(">QI", 4096, len(backing))
        changed[4096:4096 + len(backing)] = backing
        yield Variant(f"qcow2-backing/{name}", {"disk.qcow2": bytes(changed), "other": bytes(changed).replace(b"disk.qcow2", b"other\0\0\0\0\0")})


def _qcow2_bitmaps(tool):
    bitmaps = [["--add", "-g", "512", "one"], ["--add", "two"], ["--add", "--disable", "three"]]
    files = _sound(tool, "qcow2", "cluster_size=4k", bitmaps=bitmaps)
    image = files["disk.qcow2"]
    directory = struct.unpack_from(">Q", image, 136)[0]
    bitmap_table = struct.unpack_from(">Q", image, directory)[0]
    fields = [(112, 4), (116, 4), (120, 4), (124, 4), (128, 8), (136, 8), (88, 8), (24, 8)]
    for entry in (directory, directory + 32):
        fields += [(entry + offset, width) for offset, width in ((0, 8), (8, 4), (12, 4), (16, 1), (17, 1), (18, 2), (20, 4), (24, 1))]
    ranges = [(112, 144), (directory, directory + 96), (bitmap_table, bitmap_table + 16)]
    return Base("qcow2-bitmaps", files, "big", fields, [(bitmap_table, 8, 2), (directory, 8, 4)], ranges)


def _vmdk(tool):
    fields = [(0, 4), (4, 4), (8, 4), (12, 8), (20, 8), (28, 8), (36, 8), (44, 4), (48, 8), (56, 8), (64, 8), (72, 1), (73, 4), (77, 2)]
    for options in ("", "subformat=streamOptimized", "zeroed_grain=on"):
        files = _sound(tool, "vmdk", options)
        image = files["disk.vmdk"]
        redundant, directory = (struct.unpack_from("<Q", image, offset)[0] * 512 for offset in (48, 56))
        table = struct.unpack_from("<I", image, directory)[0] * 512
        ranges = [(0, 80), (512, 1000), (redundant, redundant + 8), (directory, directory + 8), (table, table + 256)]
        more = []
        if "stream" in options:
            grain = next(value for (value,) in struct.iter_unpack("<I", image[table:table + 256]) if value) * 512
            more, ranges = [(grain, 8), (grain + 8, 4), (grain + 12, 2)], ranges + [(grain, grain + 200)]
        yield Base(f"vmdk-{options or 'sparse'}", files, "little", fields + more, [(directory, 4, 1), (table, 4, 64)], ranges)
    split = _sound(tool, "vmdk", "subformat=twoGbMaxExtentSparse")
    extent = split["disk-s001.vmdk"]
    yield from _descriptors(extent)
    for name, cut in (("none", None), ("empty", b""), ("short", extent[:600]), ("text", b"version=1\n")):
        yield Variant(f"vmdk-split/extent-{name}", {"disk.vmdk": split["disk.vmdk"], **({} if cut is None else {"disk-s001.vmdk": cut})})


def _descriptors(extent):
    """Descriptors that say what they should not."""
    sectors = DISK // 512
    head = "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType=\"custom\"\n"
    lines = {
        "self-flat": 'RW 1 FLAT "disk.vmdk" 0', "self-sparse": 'RW 8 SPARSE "disk.vmdk"', "self-many": '\n'.join(['RW 1 FLAT "disk.vmdk" 0'] * 900),
        "nested": 'RW 8 SPARSE "other.vmdk"', "extents-1025": '\n'.join(['RW 1 ZERO'] * 1025), "extents-100000": '\n'.join(['RW 1 ZERO'] * 100000),
        "zero": f"RW {sectors} ZERO", "huge": f"RW {1 << 62} ZERO", "over": f"RW {1 << 64} ZERO", "negative": "RW -5 ZERO", "hex": "RW 0x100 ZERO", "sum": "\n".join([f"RW {1 << 52} ZERO"] * 1000),
        "no-size": 'RW FLAT "x" 0', "nothing": "RW", "no-name": "RW 5 FLAT", "open-quote": 'RW 5 FLAT "disk', "empty-name": 'RW 5 FLAT "" 0', "dot": 'RW 5 FLAT "." 0', "slash": 'RW 5 FLAT "/" 0',
        "absent": 'RW 5 FLAT "absent.vmdk" 0', "newline": 'RW 5 FLAT "ab\x1b[31m\rc" 0', "dev-zero": 'RW 5 FLAT "/dev/zero" 0', "dev-null": 'RW 5 FLAT "/dev/null" 0', "mem": 'RW 5 FLAT "/proc/self/mem" 0',
        "fifo": 'RW 5 FLAT "FIFO" 0', "protocol": 'RW 5 FLAT "nbd://localhost/x" 0', "null-co": 'RW 5 FLAT "null-co://" 0', "long-name": f'RW 5 FLAT "{"n" * 5000}" 0', "up": f'RW 5 FLAT "{"../" * 300}etc/hostname" 0',
        "offset-huge": f'RW 5 FLAT "disk.vmdk" {1 << 63}', "offset-behind": 'RW 5 FLAT "disk.vmdk" 1000', "offset-negative": 'RW 5 FLAT "disk.vmdk" -1', "offset-over": f'RW 5 FLAT "disk.vmdk" {(1 << 55) - 1}',
        "extent-small": f'RW {sectors * 4} SPARSE "extent.vmdk"', "extent-part": 'RW 3 SPARSE "extent.vmdk"', "extent-twice": '\n'.join([f'RW {sectors} SPARSE "extent.vmdk"'] * 2), "extent-flat": 'RW 9 FLAT "extent.vmdk" 1',
        "type": 'RW 5 NONSENSE "x" 0', "vmfs": 'RW 1 VMFS "disk.vmdk"', "rdonly": 'RDONLY 1 FLAT "disk.vmdk" 0', "noaccess": 'NOACCESS 1 FLAT "disk.vmdk" 0', "blank": " " * 100000, "equals": "=" * 1000,
        "cid": 'CID=xyz\nRW 1 ZERO', "cid-long": 'CID=123456789abcdef0\nRW 1 ZERO', "cid-empty": 'CID=\nRW 1 ZERO', "nul": '\0RW 1 ZERO', "bytes": ''.join(map(chr, range(1, 256))),
        "big": "# " + "x" * (2 << 20), "lines": "\n" * 500000,
    }
    for name, text in lines.items():
        content = (head + text + "\n").encode("latin-1")
        yield Variant(f"vmdk-descriptor/{name}", {"disk.vmdk": content, "extent.vmdk": extent, "other.vmdk": content})
    for name, hint in _BACKINGS + [("self", b"disk.vmdk"), ("self-dot", b"./disk.vmdk"), ("pair", b"other.vmdk"), ("extent", b"extent.vmdk")]:
        for cid in (b"12345678", b"00000000"):
            text = head.encode().replace(b"ffffffff", cid) + b'parentFileNameHint="' + hint + f'"\nRW {sectors} SPARSE "extent.vmdk"\n'.encode()
            yield Variant(f"vmdk-parent/{name}-{cid.decode()}", {"disk.vmdk": text, "extent.vmdk": extent, "other.vmdk": text.replace(b"other.vmdk", b"disk.vmdk")})


FORMATS = {"qcow2": _qcow2, "qed": _qed, "vdi": _vdi, "vhdx": _vhdx, "vmdk": _vmdk, "vpc": _vpc}


def corpus(tool, format_):
    """All hostile images of FORMAT."""
    for base in FORMATS[format_](tool):
        yield from base.corpus()
