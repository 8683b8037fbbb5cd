; A boot sector that reads all of a 1.44 MB floppy by INT 13h, a track's side at a time, adds its bytes up, writes the sum
; into the last sector, reads that back, and prints "sum XXXXXXXX XXXXXXXX" and "done" on the first serial port. Then it
; powers off by port F4h (isa-debug-exit), where there is one.
bits 16
org 0x7c00

SECTORS equ 18
TRACKS  equ 80
BUFFER  equ 0x1000                ; segment: a track's side, away from a 64 KiB boundary

start:
    cli
    xor ax, ax
    mov ds, ax
    mov ss, ax
    mov sp, 0x7c00
    sti
    mov [drive], dl
    xor dx, dx                    ; COM1, 9600 baud, 8N1
    mov ax, 0x00e3
    int 0x14

next_side:
    mov ax, BUFFER
    mov es, ax
    xor bx, bx
    mov ax, 0x0200 | SECTORS
    mov ch, [track]
    mov cl, 1
    mov dh, [side]
    mov dl, [drive]
    int 0x13
    jc failed
    mov cx, SECTORS * 512
    xor si, si
add_byte:
    movzx eax, byte [es:si]
    rol dword [sum], 1
    add [sum], eax
    inc si
    loop add_byte
    xor byte [side], 1
    jnz next_side
    inc byte [track]
    cmp byte [track], TRACKS
    jb next_side

    mov eax, [sum]                ; into the first bytes of the last sector
    mov [es:(SECTORS - 1) * 512], eax
    mov ax, 0x0301
    call last_sector
    jc failed
    mov dword [es:(SECTORS - 1) * 512], 0
    mov ax, 0x0201
    call last_sector
    jc failed
    mov si, text_sum
    call print
    mov eax, [sum]
    call print_number
    mov al, ' '
    call put
    mov eax, [es:(SECTORS - 1) * 512]
    call print_number
    mov si, text_done
    call print
stop:
    mov dx, 0xf4
    xor al, al
    out dx, al
    cli
    hlt
    jmp stop

failed:
    push ax
    mov si, text_failed
    call print
    pop ax
    movzx eax, ax
    call print_number
    jmp stop

last_sector:
    mov bx, (SECTORS - 1) * 512
    mov cx, (TRACKS - 1) << 8 | SECTORS
    mov dh, 1
    mov dl, [drive]
    int 0x13
    ret

print:                            ; the text at SI
    lodsb
    test al, al
    jz .end
    call put
    jmp print
.end:
    ret

print_number:                     ; EAX, eight digits
    mov cx, 8
.digit:
    rol eax, 4
    push eax
    and al, 15
    cmp al, 10
    sbb al, 0x69
    das
    call put
    pop eax
    loop .digit
    ret

put:
    push eax
    push dx
    mov ah, 1
    xor dx, dx
    int 0x14
    pop dx
    pop eax
    ret

drive: db 0
track: db 0
side:  db 0
sum:   dd 0
text_sum:    db 'sum ', 0
text_done:   db 13, 10, 'done', 13, 10, 0
text_failed: db 'failed ', 0

times 510 - ($ - $$) db 0
dw 0xaa55
