"""The guests that bench measures: 64 KiB firmware images whose reset vector jumps to F000:0000. Each writes to
isa-debug-exit when it is done."""
import os
import struct

LOOPS = 20000  # how often an exit's program does it
ROM_SIZE = 64 * 1024
LEAVE = b"\xb0\x10\xe6\xf4\xfa\xf4"  # mov al,16; out 0xf4,al; cli; hlt; the same in every mode

# Big real mode, to reach above 1 MiB: a GDT at F000:0100 of one flat data segment, and one for 64-bit code.
GDT = b"\x00" * 8 + b"\xff\xff\x00\x00\x00\x93\xcf\x00" + b"\xff\xff\x00\x00\x00\x9b\xaf\x00"
GDT_POINTER = struct.pack("<HI", len(GDT) - 1, 0xF0100)
UNREAL = (
    b"\x2e\x66\x0f\x01\x16\x20\x01"  # lgdt cs:[0x120]
    b"\x0f\x20\xc0\x0c\x01\x0f\x22\xc0"  # mov eax,cr0; or al,1; mov cr0,eax
    b"\xbb\x08\x00\x8e\xdb"  # mov bx,8; mov ds,bx
    b"\x24\xfe\x0f\x22\xc0"  # and al,0xfe; mov cr0,eax
)
EXITS = {
    "pio out": (b"", b"\xe6\x80"),  # out 0x80,al
    "pio in": (b"", b"\xe4\x80"),  # in al,0x80
    "mmio write": (UNREAL, b"\x67\x66\xa3\x00\x00\x00\xfd"),  # mov [0xfd000000],eax
    "mmio read": (UNREAL, b"\x67\x66\xa1\xf0\x00\xd0\xfe"),  # mov eax,[0xfed000f0]
}

# 64-bit mode, by page tables at F1000h that map the first 2 MiB and need no accessed and dirty bits set any more.
LONG = (
    b"\x2e\x66\x0f\x01\x16\x20\x01"  # lgdt cs:[0x120]
    b"\x66\xb8\x20\x00\x00\x00\x0f\x22\xe0"  # mov eax,PAE; mov cr4,eax
    b"\x66\xb8\x00\x10\x0f\x00\x0f\x22\xd8"  # mov eax,0xf1000; mov cr3,eax
    b"\x66\xb9\x80\x00\x00\xc0\x66\x31\xd2"  # mov ecx,EFER; xor edx,edx
    b"\x66\xb8\x00\x01\x00\x00\x0f\x30"  # mov eax,LME; wrmsr
    b"\x66\xb8\x11\x00\x00\x80\x0f\x22\xc0"  # mov eax,PG|ET|PE; mov cr0,eax
    b"\x66\xea\x00\x02\x0f\x00\x10\x00"  # jmp 0x10:0xf0200
)
PAGE_TABLES = b"".join(struct.pack("<Q4088x", entry) for entry in (0xF2063, 0xF3063, 0xE3))
# Where the jump leads: copies the loop behind it to 10000h, as it is RAM that guests mostly run in, and goes there.
TO_RAM = (
    b"\xbe\x30\x02\x0f\x00\xbf\x00\x00\x01\x00"  # mov esi,0xf0230; mov edi,0x10000
    b"\xb9\x00\x02\x00\x00\xf3\xa4"  # mov ecx,512; rep movsb
    b"\xbb\x00\x00\x01\x00\xbc\x00\x00\x02\x00\xbe\x00\x80\x00\x00"  # mov ebx,0x10000; mov esp,0x20000; mov esi,0x8000
)
# Loops in 64-bit mode: what is repeated, its instructions with the two that count, what lies behind LEAVE.
LOOP_INSTRUCTIONS = 300_000_000
INSTRUCTION_LOOPS = {
    "integer": (
        b"\x48\x01\xd8\x48\x31\xc2\x48\xc1\xc0\x07"  # add rax,rbx; xor rdx,rax; rol rax,7
        b"\x48\x8d\x5c\x93\x05\x48\x29\xd6\x48\x21\xf7"  # lea rbx,[rbx+rdx*4+5]; sub rsi,rdx; and rdi,rsi
        b"\x48\x0f\xaf\xfa\x48\x83\xc7\x03",  # imul rdi,rdx; add rdi,3
        10, b""),
    "memory": (
        b"\x48\x8b\x06\x48\x01\x46\x08\x48\x89\x5e\x10"  # mov rax,[rsi]; add [rsi+8],rax; mov [rsi+16],rbx
        b"\x48\x8b\x5e\x08\x0f\xb6\x56\x04\x48\x83\xc3\x03",  # mov rbx,[rsi+8]; movzx edx,byte [rsi+4]; add rbx,3
        8, b""),
    "branch": (
        b"\x48\xff\xc0\xa8\x01\x74\x03\x48\xff\xc3"  # inc rax; test al,1; jz over; inc rbx; over:
        b"\xa8\x02\x75\x03\x48\xff\xc2",  # test al,2; jnz over; inc rdx; over:
        8, b""),  # every second inc is jumped over
    "call": (
        b"\xe8\x0b\x00\x00\x00",  # call behind LEAVE
        7, b"\x53\x48\x01\xd8\x5b\xc3"),  # push rbx; add rax,rbx; pop rbx; ret
}


def rom(real_mode, long_mode=b""):
    """REAL_MODE at offset 0, LONG_MODE at 200h."""
    image = bytearray(b"\xf4" * ROM_SIZE)
    for offset, data in ((0, real_mode), (0x100, GDT), (0x120, GDT_POINTER), (0x200, long_mode), (0x1000, PAGE_TABLES),
                         (0xFFF0, b"\xea\x00\x00\x00\xf0")):  # jmp F000:0000
        image[offset: offset + len(data)] = data
    return bytes(image)


def repeated(body, count):
    """BODY executed COUNT times (a multiple of 10000) in real mode."""
    # mov bx,COUNT/10000 / outer: mov cx,10000 / inner: BODY / loop inner / dec bx / jnz outer
    inner = body + b"\xe2" + struct.pack("<b", -(len(body) + 2))
    outer = struct.pack("<BH", 0xB9, 10000) + inner + b"\x4b"
    return struct.pack("<BH", 0xBB, count // 10000) + outer + b"\x75" + struct.pack("<b", -(len(outer) + 2))


def counted(body, instructions, behind):
    """A ROM that executes LOOP_INSTRUCTIONS in 64-bit mode."""
    # mov ecx,COUNT / inner: BODY / dec rcx / jnz inner
    inner = body + b"\x48\xff\xc9"
    loop = inner + b"\x75" + struct.pack("<b", -(len(inner) + 2))
    setup = struct.pack("<BI", 0xB9, LOOP_INSTRUCTIONS // instructions)
    entry = TO_RAM + b"\xff\xe3"  # jmp rbx
    return rom(LONG, entry.ljust(0x30, b"\x90") + setup + loop + LEAVE + behind)


def write_images(folder):
    """Path of each image in FOLDER by name; those of EXITS also without the loop, as NAME empty."""
    images = {"start": rom(LEAVE), "halt": rom(b"\xfa\xf4"), "long mode": rom(LONG, LEAVE)}
    for name, (setup, body) in EXITS.items():
        images[name] = rom(setup + repeated(body, LOOPS) + LEAVE)
        images[name + " empty"] = rom(setup + LEAVE)
    for name, loop in INSTRUCTION_LOOPS.items():
        images[name] = counted(*loop)
    paths = {name: os.path.join(folder, name.replace(" ", "-") + ".bin") for name in images}
    for name, image in images.items():
        with open(paths[name], "wb") as file:
            file.write(image)
    return paths
