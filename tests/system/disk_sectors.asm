; A boot sector that reads the first MiB of its disk by INT 13h, 32 KiB at a time, adds up its 32-bit words, writes the
; sum into sector 2048, reads that back, and prints "sum XXXXXXXX XXXXXXXX" and "done" on the first serial port. Then it
; powers off by port F4h (isa-debug-exit), where there is one.
bits 16
org 0x7c00

COUNT  equ 64                     ; sectors at a time
END    equ 2048
BUFFER equ 0x1000                 ; segment

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
    mov ax, BUFFER
    mov es, ax

next_part:
    mov ah, 0x42
    call transfer
    mov cx, COUNT * 512 / 4
    xor si, si
add_word:
    rol dword [sum], 1
    mov eax, [es:si]
    add [sum], eax
    add si, 4
    loop add_word
    add dword [sector], COUNT
    cmp dword [sector], END
    jb next_part

    mov word [count], 1
    mov eax, [sum]
    mov [es:0], eax
    mov ax, 0x4300
    call transfer
    mov dword [es:0], 0
    mov ah, 0x42
    call transfer
    mov si, text_sum
    call print
    mov eax, [sum]
    call print_number
    mov al, ' '
    call put
    mov eax, [es:0]
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

transfer:                         ; function AX with the packet
    mov si, packet
    mov dl, [drive]
    int 0x13
    jc failed
    ret

failed:
    push ax
    mov si, text_failed
    call print
    pop ax
    movzx eax, ax
    call print_number
    jmp stop

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
    add al, '0'
    cmp al, '9'
    jbe .put
    add al, 'A' - '9' - 1
.put:
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

align 4
packet: db 16, 0
count:  dw COUNT
        dw 0, BUFFER
sector: dq 0
sum:    dd 0
drive:  db 0
text_sum:    db 'sum ', 0
text_failed: db 'failed ', 0
text_done:   db 13, 10, 'done', 13, 10, 0

times 510 - ($ - $$) db 0
    dw 0xaa55
