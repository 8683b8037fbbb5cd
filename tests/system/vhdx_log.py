"""Pieces of VHDX images, made here from [MS-VHDX] and not by any tool."""
import struct


def _make_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _make_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def with_checksum(structure):
    """Its field is at byte 4 and counts as zero."""
    return structure[:4] + struct.pack("<I", crc32c(structure[:4] + bytes(4) + structure[8:])) + structure[8:]


def log_entry(log_id, sequence, tail, writes, zeroes, file_size):
    """2.3.1: WRITES are (offset, 4096 bytes), ZEROES (offset, length)."""
    descriptors, sectors = b"", b""
    for offset, data in writes:
        descriptors += struct.pack("<4s4s8sQQ", b"desc", data[4092:], data[:8], offset, sequence)
        sectors += struct.pack("<4sI", b"data", sequence >> 32) + data[8:4092] + struct.pack("<I", sequence & 0xFFFFFFFF)
    for offset, length in zeroes:
        descriptors += struct.pack("<4sIQQQ", b"zero", 0, length, offset, sequence)
    head_size = (64 + len(descriptors) + 4095) // 4096 * 4096
    length = head_size + len(sectors)
    count = len(writes) + len(zeroes)
    head = struct.pack("<4sIIIQII16sQQ", b"loge", 0, length, tail, sequence, count, 0, log_id, file_size, file_size)
    return with_checksum((head + descriptors).ljust(head_size, b"\0") + sectors)
