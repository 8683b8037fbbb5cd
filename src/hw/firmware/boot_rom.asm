; Boots the kernel that fw_cfg holds, from inside the firmware: an option ROM with a boot entry vector.
;
; Two kinds of kernel:
;   * Linux (boot protocol 2.00 and later): the numbered items of fw_cfg say where setup code, command line, kernel and
;     initial RAM disk go; control passes to the setup code in real mode.
;   * Anything with a boot plan: the file "etc/doppel/boot-plan" (boot_rom.h has its layout) says what to load where;
;     the firmware's memory map and the RSDP's address are filled in; control passes in flat protected mode.
;
; boot_rom_image.cpp is made of this file by boot_rom.py; the test of that name assembles it again and compares.

BITS 16
ORG 0

SELECTOR_FILE_DIRECTORY equ 0x19
DMA_PORT_LOW            equ 0x518
DMA_READ                equ 0x02
DMA_SELECT_READ         equ 0x0a

KEY_KERNEL_ADDR         equ 0x07
KEY_KERNEL_SIZE         equ 0x08
KEY_INITRD_ADDR         equ 0x0a
KEY_INITRD_SIZE         equ 0x0b
KEY_KERNEL_DATA         equ 0x11
KEY_INITRD_DATA         equ 0x12
KEY_CMDLINE_ADDR        equ 0x13
KEY_CMDLINE_SIZE        equ 0x14
KEY_CMDLINE_DATA        equ 0x15
KEY_SETUP_ADDR          equ 0x16
KEY_SETUP_SIZE          equ 0x17
KEY_SETUP_DATA          equ 0x18

; Workspace in conventional memory, between the boot sector's place and what a plan may load.
DESCRIPTOR              equ 0x7e00      ; control, length, address: 16 bytes, big-endian
VALUE                   equ 0x7e10      ; a number read from an item
ROW                     equ 0x7e20      ; a row of the file directory, 64 bytes
PLAN                    equ 0x7e80      ; the plan's header, 48 bytes
GDT                     equ 0x7ec0
GDTR                    equ 0x7ee0
PIECES                  equ 0x8000      ; up to 128 rows of address and length
MAX_PIECES              equ 128
MAX_MAP_ENTRIES         equ 128

PLAN_MAGIC              equ 0x4e4c5044  ; "DPLN"
PLAN_ENTRY              equ PLAN + 4
PLAN_EAX                equ PLAN + 8
PLAN_EBX                equ PLAN + 12
PLAN_ESI                equ PLAN + 16
PLAN_MAP                equ PLAN + 20
PLAN_MAP_LEAD           equ PLAN + 24
PLAN_MAP_COUNT          equ PLAN + 28
PLAN_MAP_UNIT           equ PLAN + 32
PLAN_RSDP               equ PLAN + 36
PLAN_PIECES             equ PLAN + 40
PLAN_SIZE               equ 48

header:
        dw 0xaa55
        db IMAGE_SIZE / 512
        jmp strict near initialize      ; called by the firmware when it finds the ROM
        times 0x1a - ($ - header) db 0
        dw pnp

ALIGN 16, db 0
pnp:    db '$PnP', 1, 2                 ; revision, length in 16 bytes
        dw 0                            ; no further header
        db 0
        db 0                            ; checksum, set by boot_rom()
        dd 0
        dw manufacturer, product
        db 0, 0, 0
        db 0x14                         ; may be shadowed, may boot
        dw 0, 0                         ; no connection or disconnection vector
        dw boot                         ; boot entry vector
        dw 0, 0

manufacturer db 'Doppel', 0
product      db 'Doppel kernel loader', 0
plan_name    db 'etc/doppel/boot-plan', 0
PLAN_NAME_SIZE equ $ - plan_name
message      db 13, 10, 'Doppel: the kernel could not be loaded.', 13, 10, 0

initialize:
        retf

; --- fw_cfg -----------------------------------------------------------------------------------------------------------

; EAX control word, ECX length, EDI physical address. Keeps EBX, EBP, ESI.
transfer:
        bswap eax
        mov [DESCRIPTOR], eax
        bswap ecx
        mov [DESCRIPTOR + 4], ecx
        bswap edi
        and dword [DESCRIPTOR + 8], 0
        mov [DESCRIPTOR + 12], edi
        mov eax, DESCRIPTOR
        bswap eax
        mov dx, DMA_PORT_LOW
        out dx, eax
.wait:  mov eax, [DESCRIPTOR]
        test eax, 0xfeffffff            ; big-endian: anything but the error bit is "still busy"
        jnz .wait
        test eax, eax
        jnz failed
        ret

; AL item -> EAX its 32-bit number.
read_number:
        movzx eax, al
        shl eax, 16
        mov al, DMA_SELECT_READ
        mov ecx, 4
        mov edi, VALUE
        call transfer
        mov eax, [VALUE]
        ret

; AL item of a size, AH of an address, DL of the data: reads it. EBX is its size, EBP its address.
load_item:
        push dx
        push ax
        call read_number
        mov ebx, eax
        pop ax
        mov al, ah
        call read_number
        mov ebp, eax
        pop ax
.data:  movzx eax, al                   ; entered here with EBX and EBP set
        shl eax, 16
        mov al, DMA_SELECT_READ
        mov ecx, ebx
        mov edi, ebp
        jecxz .done
        jmp transfer
.done:  ret

failed: mov si, message
.next:  cs lodsb
        test al, al
        jz .stop
        mov ah, 0x0e
        mov bx, 7
        int 0x10
        jmp .next
.stop:  hlt
        jmp .stop

; --- the boot entry vector --------------------------------------------------------------------------------------------

boot:
        cld
        movzx esp, sp
        xor ax, ax
        mov ds, ax
        mov es, ax

        ; Look for the plan in the directory.
        mov eax, (SELECTOR_FILE_DIRECTORY << 16) | DMA_SELECT_READ
        mov ecx, 4
        mov edi, VALUE
        call transfer
        mov ebx, [VALUE]
        bswap ebx
.row:   test ebx, ebx
        jz linux
        dec ebx
        mov eax, DMA_READ
        mov ecx, 64
        mov edi, ROW
        call transfer
        mov si, plan_name
        mov di, ROW + 8
        mov cx, PLAN_NAME_SIZE
.compare:
        cs lodsb
        scasb
        loope .compare
        jne .row
        mov ax, [ROW + 4]
        xchg al, ah
        jmp plan

; --- Linux ------------------------------------------------------------------------------------------------------------

linux:
        mov al, KEY_SETUP_SIZE
        call read_number
        test eax, eax
        jnz .load
        retf                            ; nothing to boot here
.load:
        mov al, KEY_SETUP_SIZE
        mov ah, KEY_SETUP_ADDR
        mov dl, KEY_SETUP_DATA
        call load_item
        push ebp                        ; the setup code's address
        mov al, KEY_KERNEL_SIZE
        mov ah, KEY_KERNEL_ADDR
        mov dl, KEY_KERNEL_DATA
        call load_item
        mov al, KEY_CMDLINE_SIZE
        mov ah, KEY_CMDLINE_ADDR
        mov dl, KEY_CMDLINE_DATA
        call load_item
        push ebp                        ; the command line's

        ; The initial RAM disk lies at the top of memory, of which the firmware may have taken some since.
        mov al, KEY_INITRD_SIZE
        call read_number
        mov ebx, eax
        test eax, eax
        jz .enter
        mov al, KEY_INITRD_ADDR
        call read_number
        mov ebp, eax
        push ebx
        push ebp
        mov ax, 0xe801                  ; BX: 64 KiB blocks above 16 MiB
        xor bx, bx
        xor dx, dx
        int 0x15
        jc .keep
        test bx, bx
        jnz .end
        mov bx, dx
.end:   movzx eax, bx
        shl eax, 16
        jz .keep                        ; less than 16 MiB: the host's choice stands
        add eax, 0x1000000
        pop ebp
        pop ebx
        sub eax, ebx
        and eax, 0xfffff000
        cmp eax, ebp
        jae .place
        mov ebp, eax
        mov esi, [esp + 4]              ; tell the kernel: ramdisk_image in its header
        shr esi, 4
        mov es, si
        mov [es:0x218], ebp
        jmp .place
.keep:  pop ebp
        pop ebx
.place: mov al, KEY_INITRD_DATA
        call load_item.data

.enter: pop ecx                         ; command line
        pop ebx                         ; setup code
        sub ecx, ebx
        sub ecx, 16                     ; the stack ends below the command line
        shr ebx, 4
        cli
        mov ds, bx
        mov es, bx
        mov fs, bx
        mov gs, bx
        mov ss, bx
        mov esp, ecx
        add bx, 0x20
        push bx
        push word 0
        xor eax, eax
        xor ebx, ebx
        xor ecx, ecx
        xor edx, edx
        xor esi, esi
        xor edi, edi
        xor ebp, ebp
        retf

; --- a boot plan ------------------------------------------------------------------------------------------------------

plan:                                   ; AX its key
        movzx eax, ax
        shl eax, 16
        mov al, DMA_SELECT_READ
        mov ecx, PLAN_SIZE
        mov edi, PLAN
        call transfer
        cmp dword [PLAN], PLAN_MAGIC
        jne failed
        mov ecx, [PLAN_PIECES]
        cmp ecx, MAX_PIECES
        ja failed
        mov bp, cx
        shl ecx, 3
        mov eax, DMA_READ
        mov edi, PIECES
        call transfer
        mov si, PIECES
.piece: test bp, bp
        jz memory_map
        dec bp
        lodsd
        mov edi, eax
        lodsd
        mov ecx, eax
        mov eax, DMA_READ
        call transfer
        jmp .piece

; The firmware's memory map, as an array of 24 bytes an entry with the 20 of INT 15h in it.
memory_map:
        mov edi, [PLAN_MAP]
        test edi, edi
        jz rsdp
        mov ecx, edi
        shr ecx, 4
        mov es, cx
        and di, 15
        xor ebx, ebx
        xor bp, bp
.entry: push di
        mov dword [es:di + 20], 0       ; PVH: reserved
        mov dword [es:di], 20           ; multiboot: the size of what follows
        add di, [PLAN_MAP_LEAD]
        mov eax, 0xe820
        mov edx, 0x534d4150             ; "SMAP"
        mov ecx, 20
        int 0x15
        pop di
        jc .end
        cmp eax, 0x534d4150
        jne .end
        inc bp
        add di, 24
        test ebx, ebx
        jz .end
        cmp bp, MAX_MAP_ENTRIES
        jb .entry
.end:   movzx eax, bp
        mul dword [PLAN_MAP_UNIT]
        mov edi, [PLAN_MAP_COUNT]
        call point_at
        mov [es:di], eax

; Where the firmware put the ACPI tables' root.
rsdp:
        mov edi, [PLAN_RSDP]
        test edi, edi
        jz protected
        mov bx, 0xe000
.scan:  mov es, bx
        cmp dword [es:0], 0x20445352    ; "RSD "
        jne .next
        cmp dword [es:4], 0x20525450    ; "PTR "
        je .found
.next:  inc bx
        jnz .scan
        jmp protected
.found: movzx eax, bx
        shl eax, 4
        call point_at
        mov [es:di], eax
        and dword [es:di + 4], 0

protected:
        cli
        push cs
        pop ds
        xor ax, ax
        mov es, ax
        mov si, gdt
        mov di, GDT
        mov cx, GDT_SIZE + 6
        rep movsb
        mov ds, ax
        lgdt [GDT + GDT_SIZE]
        xor ebx, ebx
        mov bx, cs
        shl ebx, 4
        add ebx, flat
        mov eax, cr0
        or al, 1
        mov cr0, eax
        push dword 0x10
        push ebx
        o32 retf

; EDI a physical address below 1 MiB -> ES:DI.
point_at:
        mov ecx, edi
        shr ecx, 4
        mov es, cx
        and di, 15
        ret

BITS 32
flat:   mov eax, 0x18
        mov ds, eax
        mov es, eax
        mov fs, eax
        mov gs, eax
        mov ss, eax
        mov esp, 0x7c00
        push dword 2
        popfd
        mov eax, [PLAN_EAX]
        mov ebx, [PLAN_EBX]
        mov esi, [PLAN_ESI]
        xor ecx, ecx
        xor edx, edx
        xor edi, edi
        xor ebp, ebp
        jmp [PLAN_ENTRY]

ALIGN 4, db 0
; Accessed bits are set already: nothing ever writes to these.
gdt:    dq 0
        dq 0
        dq 0x00cf9b000000ffff           ; 0x10: code
        dq 0x00cf93000000ffff           ; 0x18: data
GDT_SIZE equ $ - gdt
        dw GDT_SIZE - 1                 ; what LGDT reads
        dd GDT

IMAGE_SIZE equ 1536                     ; boot_rom() fills up to it and sets the last byte for the checksum
