// Made by boot_rom.py from boot_rom.asm, which has the comments: change that and run it again.
#include "hw/firmware/boot_rom.h"

namespace doppel::hw {

namespace {

// clang-format off
constexpr std::uint8_t kCode[] = {
    0x55, 0xaa,                                                               // 000  dw 0xaa55
    0x03,                                                                     // 002  db IMAGE_SIZE / 512
    0xe9, 0x97, 0x00,                                                         // 003  jmp strict near initialize
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,   // 006  times 0x1a - ($ - header) db 0
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,                           // 012
    0x20, 0x00,                                                               // 01a  dw pnp
    0x00, 0x00, 0x00, 0x00,                                                   // 01c  ALIGN 16, db 0
    0x24, 0x50, 0x6e, 0x50, 0x01, 0x02,                                       // 020  pnp: db '$PnP', 1, 2
    0x00, 0x00,                                                               // 026  dw 0
    0x00,                                                                     // 028  db 0
    0x00,                                                                     // 029  db 0
    0x00, 0x00, 0x00, 0x00,                                                   // 02a  dd 0
    0x40, 0x00, 0x47, 0x00,                                                   // 02e  dw manufacturer, product
    0x00, 0x00, 0x00,                                                         // 032  db 0, 0, 0
    0x14,                                                                     // 035  db 0x14
    0x00, 0x00, 0x00, 0x00,                                                   // 036  dw 0, 0
    0x37, 0x01,                                                               // 03a  dw boot
    0x00, 0x00, 0x00, 0x00,                                                   // 03c  dw 0, 0
    0x44, 0x6f, 0x70, 0x70, 0x65, 0x6c, 0x00,                                 // 040  manufacturer db 'Doppel', 0
    0x44, 0x6f, 0x70, 0x70, 0x65, 0x6c, 0x20, 0x6b, 0x65, 0x72, 0x6e, 0x65,   // 047  product db 'Doppel kernel loader', 0
    0x6c, 0x20, 0x6c, 0x6f, 0x61, 0x64, 0x65, 0x72, 0x00,                     // 053
    0x65, 0x74, 0x63, 0x2f, 0x64, 0x6f, 0x70, 0x70, 0x65, 0x6c, 0x2f, 0x62,   // 05c  plan_name db 'etc/doppel/boot-plan', 0
    0x6f, 0x6f, 0x74, 0x2d, 0x70, 0x6c, 0x61, 0x6e, 0x00,                     // 068
    0x0d, 0x0a, 0x44, 0x6f, 0x70, 0x70, 0x65, 0x6c, 0x3a, 0x20, 0x74, 0x68,   // 071  message db 13, 10, 'Doppel: the kernel could not be loaded.', 13, 10, 0
    0x65, 0x20, 0x6b, 0x65, 0x72, 0x6e, 0x65, 0x6c, 0x20, 0x63, 0x6f, 0x75,   // 07d
    0x6c, 0x64, 0x20, 0x6e, 0x6f, 0x74, 0x20, 0x62, 0x65, 0x20, 0x6c, 0x6f,   // 089
    0x61, 0x64, 0x65, 0x64, 0x2e, 0x0d, 0x0a, 0x00,                           // 095
    0xcb,                                                                     // 09d  retf
    0x66, 0x0f, 0xc8,                                                         // 09e  bswap eax
    0x66, 0xa3, 0x00, 0x7e,                                                   // 0a1  mov [DESCRIPTOR], eax
    0x66, 0x0f, 0xc9,                                                         // 0a5  bswap ecx
    0x66, 0x89, 0x0e, 0x04, 0x7e,                                             // 0a8  mov [DESCRIPTOR + 4], ecx
    0x66, 0x0f, 0xcf,                                                         // 0ad  bswap edi
    0x66, 0x83, 0x26, 0x08, 0x7e, 0x00,                                       // 0b0  and dword [DESCRIPTOR + 8], 0
    0x66, 0x89, 0x3e, 0x0c, 0x7e,                                             // 0b6  mov [DESCRIPTOR + 12], edi
    0x66, 0xb8, 0x00, 0x7e, 0x00, 0x00,                                       // 0bb  mov eax, DESCRIPTOR
    0x66, 0x0f, 0xc8,                                                         // 0c1  bswap eax
    0xba, 0x18, 0x05,                                                         // 0c4  mov dx, DMA_PORT_LOW
    0x66, 0xef,                                                               // 0c7  out dx, eax
    0x66, 0xa1, 0x00, 0x7e,                                                   // 0c9  .wait: mov eax, [DESCRIPTOR]
    0x66, 0xa9, 0xff, 0xff, 0xff, 0xfe,                                       // 0cd  test eax, 0xfeffffff
    0x75, 0xf4,                                                               // 0d3  jnz .wait
    0x66, 0x85, 0xc0,                                                         // 0d5  test eax, eax
    0x75, 0x48,                                                               // 0d8  jnz failed
    0xc3,                                                                     // 0da  ret
    0x66, 0x0f, 0xb6, 0xc0,                                                   // 0db  movzx eax, al
    0x66, 0xc1, 0xe0, 0x10,                                                   // 0df  shl eax, 16
    0xb0, 0x0a,                                                               // 0e3  mov al, DMA_SELECT_READ
    0x66, 0xb9, 0x04, 0x00, 0x00, 0x00,                                       // 0e5  mov ecx, 4
    0x66, 0xbf, 0x10, 0x7e, 0x00, 0x00,                                       // 0eb  mov edi, VALUE
    0xe8, 0xaa, 0xff,                                                         // 0f1  call transfer
    0x66, 0xa1, 0x10, 0x7e,                                                   // 0f4  mov eax, [VALUE]
    0xc3,                                                                     // 0f8  ret
    0x52,                                                                     // 0f9  push dx
    0x50,                                                                     // 0fa  push ax
    0xe8, 0xdd, 0xff,                                                         // 0fb  call read_number
    0x66, 0x89, 0xc3,                                                         // 0fe  mov ebx, eax
    0x58,                                                                     // 101  pop ax
    0x88, 0xe0,                                                               // 102  mov al, ah
    0xe8, 0xd4, 0xff,                                                         // 104  call read_number
    0x66, 0x89, 0xc5,                                                         // 107  mov ebp, eax
    0x58,                                                                     // 10a  pop ax
    0x66, 0x0f, 0xb6, 0xc0,                                                   // 10b  .data: movzx eax, al
    0x66, 0xc1, 0xe0, 0x10,                                                   // 10f  shl eax, 16
    0xb0, 0x0a,                                                               // 113  mov al, DMA_SELECT_READ
    0x66, 0x89, 0xd9,                                                         // 115  mov ecx, ebx
    0x66, 0x89, 0xef,                                                         // 118  mov edi, ebp
    0x67, 0xe3, 0x03,                                                         // 11b  jecxz .done
    0xe9, 0x7d, 0xff,                                                         // 11e  jmp transfer
    0xc3,                                                                     // 121  .done: ret
    0xbe, 0x71, 0x00,                                                         // 122  failed: mov si, message
    0x2e, 0xac,                                                               // 125  .next: cs lodsb
    0x84, 0xc0,                                                               // 127  test al, al
    0x74, 0x09,                                                               // 129  jz .stop
    0xb4, 0x0e,                                                               // 12b  mov ah, 0x0e
    0xbb, 0x07, 0x00,                                                         // 12d  mov bx, 7
    0xcd, 0x10,                                                               // 130  int 0x10
    0xeb, 0xf1,                                                               // 132  jmp .next
    0xf4,                                                                     // 134  .stop: hlt
    0xeb, 0xfd,                                                               // 135  jmp .stop
    0xfc,                                                                     // 137  cld
    0x66, 0x0f, 0xb7, 0xe4,                                                   // 138  movzx esp, sp
    0x31, 0xc0,                                                               // 13c  xor ax, ax
    0x8e, 0xd8,                                                               // 13e  mov ds, ax
    0x8e, 0xc0,                                                               // 140  mov es, ax
    0x66, 0xb8, 0x0a, 0x00, 0x19, 0x00,                                       // 142  mov eax, (SELECTOR_FILE_DIRECTORY << 16) | DMA_SELECT_READ
    0x66, 0xb9, 0x04, 0x00, 0x00, 0x00,                                       // 148  mov ecx, 4
    0x66, 0xbf, 0x10, 0x7e, 0x00, 0x00,                                       // 14e  mov edi, VALUE
    0xe8, 0x47, 0xff,                                                         // 154  call transfer
    0x66, 0x8b, 0x1e, 0x10, 0x7e,                                             // 157  mov ebx, [VALUE]
    0x66, 0x0f, 0xcb,                                                         // 15c  bswap ebx
    0x66, 0x85, 0xdb,                                                         // 15f  .row: test ebx, ebx
    0x74, 0x2f,                                                               // 162  jz linux
    0x66, 0x4b,                                                               // 164  dec ebx
    0x66, 0xb8, 0x02, 0x00, 0x00, 0x00,                                       // 166  mov eax, DMA_READ
    0x66, 0xb9, 0x40, 0x00, 0x00, 0x00,                                       // 16c  mov ecx, 64
    0x66, 0xbf, 0x20, 0x7e, 0x00, 0x00,                                       // 172  mov edi, ROW
    0xe8, 0x23, 0xff,                                                         // 178  call transfer
    0xbe, 0x5c, 0x00,                                                         // 17b  mov si, plan_name
    0xbf, 0x28, 0x7e,                                                         // 17e  mov di, ROW + 8
    0xb9, 0x15, 0x00,                                                         // 181  mov cx, PLAN_NAME_SIZE
    0x2e, 0xac,                                                               // 184  cs lodsb
    0xae,                                                                     // 186  scasb
    0xe1, 0xfb,                                                               // 187  loope .compare
    0x75, 0xd4,                                                               // 189  jne .row
    0xa1, 0x24, 0x7e,                                                         // 18b  mov ax, [ROW + 4]
    0x86, 0xc4,                                                               // 18e  xchg al, ah
    0xe9, 0xcf, 0x00,                                                         // 190  jmp plan
    0xb0, 0x17,                                                               // 193  mov al, KEY_SETUP_SIZE
    0xe8, 0x43, 0xff,                                                         // 195  call read_number
    0x66, 0x85, 0xc0,                                                         // 198  test eax, eax
    0x75, 0x01,                                                               // 19b  jnz .load
    0xcb,                                                                     // 19d  retf
    0xb0, 0x17,                                                               // 19e  mov al, KEY_SETUP_SIZE
    0xb4, 0x16,                                                               // 1a0  mov ah, KEY_SETUP_ADDR
    0xb2, 0x18,                                                               // 1a2  mov dl, KEY_SETUP_DATA
    0xe8, 0x52, 0xff,                                                         // 1a4  call load_item
    0x66, 0x55,                                                               // 1a7  push ebp
    0xb0, 0x08,                                                               // 1a9  mov al, KEY_KERNEL_SIZE
    0xb4, 0x07,                                                               // 1ab  mov ah, KEY_KERNEL_ADDR
    0xb2, 0x11,                                                               // 1ad  mov dl, KEY_KERNEL_DATA
    0xe8, 0x47, 0xff,                                                         // 1af  call load_item
    0xb0, 0x14,                                                               // 1b2  mov al, KEY_CMDLINE_SIZE
    0xb4, 0x13,                                                               // 1b4  mov ah, KEY_CMDLINE_ADDR
    0xb2, 0x15,                                                               // 1b6  mov dl, KEY_CMDLINE_DATA
    0xe8, 0x3e, 0xff,                                                         // 1b8  call load_item
    0x66, 0x55,                                                               // 1bb  push ebp
    0xb0, 0x0b,                                                               // 1bd  mov al, KEY_INITRD_SIZE
    0xe8, 0x19, 0xff,                                                         // 1bf  call read_number
    0x66, 0x89, 0xc3,                                                         // 1c2  mov ebx, eax
    0x66, 0x85, 0xc0,                                                         // 1c5  test eax, eax
    0x74, 0x5f,                                                               // 1c8  jz .enter
    0xb0, 0x0a,                                                               // 1ca  mov al, KEY_INITRD_ADDR
    0xe8, 0x0c, 0xff,                                                         // 1cc  call read_number
    0x66, 0x89, 0xc5,                                                         // 1cf  mov ebp, eax
    0x66, 0x53,                                                               // 1d2  push ebx
    0x66, 0x55,                                                               // 1d4  push ebp
    0xb8, 0x01, 0xe8,                                                         // 1d6  mov ax, 0xe801
    0x31, 0xdb,                                                               // 1d9  xor bx, bx
    0x31, 0xd2,                                                               // 1db  xor dx, dx
    0xcd, 0x15,                                                               // 1dd  int 0x15
    0x72, 0x3f,                                                               // 1df  jc .keep
    0x85, 0xdb,                                                               // 1e1  test bx, bx
    0x75, 0x02,                                                               // 1e3  jnz .end
    0x89, 0xd3,                                                               // 1e5  mov bx, dx
    0x66, 0x0f, 0xb7, 0xc3,                                                   // 1e7  .end: movzx eax, bx
    0x66, 0xc1, 0xe0, 0x10,                                                   // 1eb  shl eax, 16
    0x74, 0x2f,                                                               // 1ef  jz .keep
    0x66, 0x05, 0x00, 0x00, 0x00, 0x01,                                       // 1f1  add eax, 0x1000000
    0x66, 0x5d,                                                               // 1f7  pop ebp
    0x66, 0x5b,                                                               // 1f9  pop ebx
    0x66, 0x29, 0xd8,                                                         // 1fb  sub eax, ebx
    0x66, 0x25, 0x00, 0xf0, 0xff, 0xff,                                       // 1fe  and eax, 0xfffff000
    0x66, 0x39, 0xe8,                                                         // 204  cmp eax, ebp
    0x73, 0x1b,                                                               // 207  jae .place
    0x66, 0x89, 0xc5,                                                         // 209  mov ebp, eax
    0x66, 0x67, 0x8b, 0x74, 0x24, 0x04,                                       // 20c  mov esi, [esp + 4]
    0x66, 0xc1, 0xee, 0x04,                                                   // 212  shr esi, 4
    0x8e, 0xc6,                                                               // 216  mov es, si
    0x26, 0x66, 0x89, 0x2e, 0x18, 0x02,                                       // 218  mov [es:0x218], ebp
    0xeb, 0x04,                                                               // 21e  jmp .place
    0x66, 0x5d,                                                               // 220  .keep: pop ebp
    0x66, 0x5b,                                                               // 222  pop ebx
    0xb0, 0x12,                                                               // 224  .place: mov al, KEY_INITRD_DATA
    0xe8, 0xe2, 0xfe,                                                         // 226  call load_item.data
    0x66, 0x59,                                                               // 229  .enter: pop ecx
    0x66, 0x5b,                                                               // 22b  pop ebx
    0x66, 0x29, 0xd9,                                                         // 22d  sub ecx, ebx
    0x66, 0x83, 0xe9, 0x10,                                                   // 230  sub ecx, 16
    0x66, 0xc1, 0xeb, 0x04,                                                   // 234  shr ebx, 4
    0xfa,                                                                     // 238  cli
    0x8e, 0xdb,                                                               // 239  mov ds, bx
    0x8e, 0xc3,                                                               // 23b  mov es, bx
    0x8e, 0xe3,                                                               // 23d  mov fs, bx
    0x8e, 0xeb,                                                               // 23f  mov gs, bx
    0x8e, 0xd3,                                                               // 241  mov ss, bx
    0x66, 0x89, 0xcc,                                                         // 243  mov esp, ecx
    0x83, 0xc3, 0x20,                                                         // 246  add bx, 0x20
    0x53,                                                                     // 249  push bx
    0x6a, 0x00,                                                               // 24a  push word 0
    0x66, 0x31, 0xc0,                                                         // 24c  xor eax, eax
    0x66, 0x31, 0xdb,                                                         // 24f  xor ebx, ebx
    0x66, 0x31, 0xc9,                                                         // 252  xor ecx, ecx
    0x66, 0x31, 0xd2,                                                         // 255  xor edx, edx
    0x66, 0x31, 0xf6,                                                         // 258  xor esi, esi
    0x66, 0x31, 0xff,                                                         // 25b  xor edi, edi
    0x66, 0x31, 0xed,                                                         // 25e  xor ebp, ebp
    0xcb,                                                                     // 261  retf
    0x66, 0x0f, 0xb7, 0xc0,                                                   // 262  movzx eax, ax
    0x66, 0xc1, 0xe0, 0x10,                                                   // 266  shl eax, 16
    0xb0, 0x0a,                                                               // 26a  mov al, DMA_SELECT_READ
    0x66, 0xb9, 0x30, 0x00, 0x00, 0x00,                                       // 26c  mov ecx, PLAN_SIZE
    0x66, 0xbf, 0x80, 0x7e, 0x00, 0x00,                                       // 272  mov edi, PLAN
    0xe8, 0x23, 0xfe,                                                         // 278  call transfer
    0x66, 0x81, 0x3e, 0x80, 0x7e, 0x44, 0x50, 0x4c, 0x4e,                     // 27b  cmp dword [PLAN], PLAN_MAGIC
    0x0f, 0x85, 0x9a, 0xfe,                                                   // 284  jne failed
    0x66, 0x8b, 0x0e, 0xa8, 0x7e,                                             // 288  mov ecx, [PLAN_PIECES]
    0x66, 0x81, 0xf9, 0x80, 0x00, 0x00, 0x00,                                 // 28d  cmp ecx, MAX_PIECES
    0x0f, 0x87, 0x8a, 0xfe,                                                   // 294  ja failed
    0x89, 0xcd,                                                               // 298  mov bp, cx
    0x66, 0xc1, 0xe1, 0x03,                                                   // 29a  shl ecx, 3
    0x66, 0xb8, 0x02, 0x00, 0x00, 0x00,                                       // 29e  mov eax, DMA_READ
    0x66, 0xbf, 0x00, 0x80, 0x00, 0x00,                                       // 2a4  mov edi, PIECES
    0xe8, 0xf1, 0xfd,                                                         // 2aa  call transfer
    0xbe, 0x00, 0x80,                                                         // 2ad  mov si, PIECES
    0x85, 0xed,                                                               // 2b0  .piece: test bp, bp
    0x74, 0x16,                                                               // 2b2  jz memory_map
    0x4d,                                                                     // 2b4  dec bp
    0x66, 0xad,                                                               // 2b5  lodsd
    0x66, 0x89, 0xc7,                                                         // 2b7  mov edi, eax
    0x66, 0xad,                                                               // 2ba  lodsd
    0x66, 0x89, 0xc1,                                                         // 2bc  mov ecx, eax
    0x66, 0xb8, 0x02, 0x00, 0x00, 0x00,                                       // 2bf  mov eax, DMA_READ
    0xe8, 0xd6, 0xfd,                                                         // 2c5  call transfer
    0xeb, 0xe6,                                                               // 2c8  jmp .piece
    0x66, 0x8b, 0x3e, 0x94, 0x7e,                                             // 2ca  mov edi, [PLAN_MAP]
    0x66, 0x85, 0xff,                                                         // 2cf  test edi, edi
    0x74, 0x6a,                                                               // 2d2  jz rsdp
    0x66, 0x89, 0xf9,                                                         // 2d4  mov ecx, edi
    0x66, 0xc1, 0xe9, 0x04,                                                   // 2d7  shr ecx, 4
    0x8e, 0xc1,                                                               // 2db  mov es, cx
    0x83, 0xe7, 0x0f,                                                         // 2dd  and di, 15
    0x66, 0x31, 0xdb,                                                         // 2e0  xor ebx, ebx
    0x31, 0xed,                                                               // 2e3  xor bp, bp
    0x57,                                                                     // 2e5  .entry: push di
    0x26, 0x66, 0xc7, 0x45, 0x14, 0x00, 0x00, 0x00, 0x00,                     // 2e6  mov dword [es:di + 20], 0
    0x26, 0x66, 0xc7, 0x05, 0x14, 0x00, 0x00, 0x00,                           // 2ef  mov dword [es:di], 20
    0x03, 0x3e, 0x98, 0x7e,                                                   // 2f7  add di, [PLAN_MAP_LEAD]
    0x66, 0xb8, 0x20, 0xe8, 0x00, 0x00,                                       // 2fb  mov eax, 0xe820
    0x66, 0xba, 0x50, 0x41, 0x4d, 0x53,                                       // 301  mov edx, 0x534d4150
    0x66, 0xb9, 0x14, 0x00, 0x00, 0x00,                                       // 307  mov ecx, 20
    0xcd, 0x15,                                                               // 30d  int 0x15
    0x5f,                                                                     // 30f  pop di
    0x72, 0x17,                                                               // 310  jc .end
    0x66, 0x3d, 0x50, 0x41, 0x4d, 0x53,                                       // 312  cmp eax, 0x534d4150
    0x75, 0x0f,                                                               // 318  jne .end
    0x45,                                                                     // 31a  inc bp
    0x83, 0xc7, 0x18,                                                         // 31b  add di, 24
    0x66, 0x85, 0xdb,                                                         // 31e  test ebx, ebx
    0x74, 0x06,                                                               // 321  jz .end
    0x81, 0xfd, 0x80, 0x00,                                                   // 323  cmp bp, MAX_MAP_ENTRIES
    0x72, 0xbc,                                                               // 327  jb .entry
    0x66, 0x0f, 0xb7, 0xc5,                                                   // 329  .end: movzx eax, bp
    0x66, 0xf7, 0x26, 0xa0, 0x7e,                                             // 32d  mul dword [PLAN_MAP_UNIT]
    0x66, 0x8b, 0x3e, 0x9c, 0x7e,                                             // 332  mov edi, [PLAN_MAP_COUNT]
    0xe8, 0x7d, 0x00,                                                         // 337  call point_at
    0x26, 0x66, 0x89, 0x05,                                                   // 33a  mov [es:di], eax
    0x66, 0x8b, 0x3e, 0xa4, 0x7e,                                             // 33e  mov edi, [PLAN_RSDP]
    0x66, 0x85, 0xff,                                                         // 343  test edi, edi
    0x74, 0x37,                                                               // 346  jz protected
    0xbb, 0x00, 0xe0,                                                         // 348  mov bx, 0xe000
    0x8e, 0xc3,                                                               // 34b  .scan: mov es, bx
    0x26, 0x66, 0x81, 0x3e, 0x00, 0x00, 0x52, 0x53, 0x44, 0x20,               // 34d  cmp dword [es:0], 0x20445352
    0x75, 0x0c,                                                               // 357  jne .next
    0x26, 0x66, 0x81, 0x3e, 0x04, 0x00, 0x50, 0x54, 0x52, 0x20,               // 359  cmp dword [es:4], 0x20525450
    0x74, 0x05,                                                               // 363  je .found
    0x43,                                                                     // 365  .next: inc bx
    0x75, 0xe3,                                                               // 366  jnz .scan
    0xeb, 0x15,                                                               // 368  jmp protected
    0x66, 0x0f, 0xb7, 0xc3,                                                   // 36a  .found: movzx eax, bx
    0x66, 0xc1, 0xe0, 0x04,                                                   // 36e  shl eax, 4
    0xe8, 0x42, 0x00,                                                         // 372  call point_at
    0x26, 0x66, 0x89, 0x05,                                                   // 375  mov [es:di], eax
    0x26, 0x66, 0x83, 0x65, 0x04, 0x00,                                       // 379  and dword [es:di + 4], 0
    0xfa,                                                                     // 37f  cli
    0x0e,                                                                     // 380  push cs
    0x1f,                                                                     // 381  pop ds
    0x31, 0xc0,                                                               // 382  xor ax, ax
    0x8e, 0xc0,                                                               // 384  mov es, ax
    0xbe, 0xfc, 0x03,                                                         // 386  mov si, gdt
    0xbf, 0xc0, 0x7e,                                                         // 389  mov di, GDT
    0xb9, 0x26, 0x00,                                                         // 38c  mov cx, GDT_SIZE + 6
    0xf3, 0xa4,                                                               // 38f  rep movsb
    0x8e, 0xd8,                                                               // 391  mov ds, ax
    0x0f, 0x01, 0x16, 0xe0, 0x7e,                                             // 393  lgdt [GDT + GDT_SIZE]
    0x66, 0x31, 0xdb,                                                         // 398  xor ebx, ebx
    0x8c, 0xcb,                                                               // 39b  mov bx, cs
    0x66, 0xc1, 0xe3, 0x04,                                                   // 39d  shl ebx, 4
    0x66, 0x81, 0xc3, 0xc4, 0x03, 0x00, 0x00,                                 // 3a1  add ebx, flat
    0x0f, 0x20, 0xc0,                                                         // 3a8  mov eax, cr0
    0x0c, 0x01,                                                               // 3ab  or al, 1
    0x0f, 0x22, 0xc0,                                                         // 3ad  mov cr0, eax
    0x66, 0x6a, 0x10,                                                         // 3b0  push dword 0x10
    0x66, 0x53,                                                               // 3b3  push ebx
    0x66, 0xcb,                                                               // 3b5  o32 retf
    0x66, 0x89, 0xf9,                                                         // 3b7  mov ecx, edi
    0x66, 0xc1, 0xe9, 0x04,                                                   // 3ba  shr ecx, 4
    0x8e, 0xc1,                                                               // 3be  mov es, cx
    0x83, 0xe7, 0x0f,                                                         // 3c0  and di, 15
    0xc3,                                                                     // 3c3  ret
    0xb8, 0x18, 0x00, 0x00, 0x00,                                             // 3c4  flat: mov eax, 0x18
    0x8e, 0xd8,                                                               // 3c9  mov ds, eax
    0x8e, 0xc0,                                                               // 3cb  mov es, eax
    0x8e, 0xe0,                                                               // 3cd  mov fs, eax
    0x8e, 0xe8,                                                               // 3cf  mov gs, eax
    0x8e, 0xd0,                                                               // 3d1  mov ss, eax
    0xbc, 0x00, 0x7c, 0x00, 0x00,                                             // 3d3  mov esp, 0x7c00
    0x6a, 0x02,                                                               // 3d8  push dword 2
    0x9d,                                                                     // 3da  popfd
    0xa1, 0x88, 0x7e, 0x00, 0x00,                                             // 3db  mov eax, [PLAN_EAX]
    0x8b, 0x1d, 0x8c, 0x7e, 0x00, 0x00,                                       // 3e0  mov ebx, [PLAN_EBX]
    0x8b, 0x35, 0x90, 0x7e, 0x00, 0x00,                                       // 3e6  mov esi, [PLAN_ESI]
    0x31, 0xc9,                                                               // 3ec  xor ecx, ecx
    0x31, 0xd2,                                                               // 3ee  xor edx, edx
    0x31, 0xff,                                                               // 3f0  xor edi, edi
    0x31, 0xed,                                                               // 3f2  xor ebp, ebp
    0xff, 0x25, 0x84, 0x7e, 0x00, 0x00,                                       // 3f4  jmp [PLAN_ENTRY]
    0x00, 0x00,                                                               // 3fa  ALIGN 4, db 0
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,                           // 3fc  gdt: dq 0
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,                           // 404  dq 0
    0xff, 0xff, 0x00, 0x00, 0x00, 0x9b, 0xcf, 0x00,                           // 40c  dq 0x00cf9b000000ffff
    0xff, 0xff, 0x00, 0x00, 0x00, 0x93, 0xcf, 0x00,                           // 414  dq 0x00cf93000000ffff
    0x1f, 0x00,                                                               // 41c  dw GDT_SIZE - 1
    0xc0, 0x7e, 0x00, 0x00,                                                   // 41e  dd GDT
};
// clang-format on

}  // namespace

std::span<const std::uint8_t> boot_rom_code() {
  return kCode;
}

}  // namespace doppel::hw
