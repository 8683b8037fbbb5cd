# Entry of the test guest: from PVH's 32-bit protected mode (EBX = hvm_start_info) to 64-bit C++, and the trampoline that
# brings application processors the same way from real mode.

.section .note.pvh, "a", @note
  .long 4, 4, 18                  # name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY
  .asciz "Xen"
  .long _start

.section .text
.code32
.globl _start
_start:
  movl $stack_top, %esp
  movl %ebx, start_info
  # Identity-map 4 GiB with 2 MiB pages, all accessible to user mode.
  movl $page_directories, %edi
  movl $0x87, %eax                # present, writable, user, large
  xorl %edx, %edx
1: movl %eax, (%edi)
  movl $0, 4(%edi)
  addl $0x200000, %eax
  addl $8, %edi
  incl %edx
  cmpl $2048, %edx
  jne 1b
  movl $pdpt, %edi
  movl $page_directories + 7, %eax
  movl $4, %ecx
2: movl %eax, (%edi)
  addl $0x1000, %eax
  addl $8, %edi
  loop 2b
  movl $pdpt + 7, pml4
  call enter_long_mode
  ljmp $8, $start64

# Turns on PAE, SSE, long mode and paging. Clobbers EAX, ECX, EDX.
enter_long_mode:
  movl $0x620, %eax               # CR4: PAE, OSFXSR, OSXMMEXCPT
  movl %eax, %cr4
  movl $pml4, %eax
  movl %eax, %cr3
  movl $0xc0000080, %ecx          # EFER
  rdmsr
  orl $0x100, %eax                # LME
  wrmsr
  movl $0x80000011, %eax          # PG, ET, PE
  movl %eax, %cr0
  lgdt gdt_pointer
  ret

.code64
start64:
  movw $0x10, %ax
  movw %ax, %ds
  movw %ax, %es
  movw %ax, %ss
  movq $stack_top, %rsp
  movl $tss, %eax                 # the descriptor's base is in three pieces
  movw %ax, tss_descriptor + 2
  shrl $16, %eax
  movb %al, tss_descriptor + 4
  movb %ah, tss_descriptor + 7
  movw $tss_selector, %ax
  ltr %ax
  movl start_info, %edi
  call guest_main
3: cli
  hlt
  jmp 3b

# An application processor starts here, copied to a page below 1 MiB; CS:IP = page:0.
.code16
.globl trampoline, trampoline_end
trampoline:
  cli
  movw %cs, %ax
  movw %ax, %ds
  lgdtl trampoline_gdt_pointer - trampoline
  movl $0x11, %eax
  movl %eax, %cr0
  ljmpl $0x18, $application_processor32
.balign 4
trampoline_gdt_pointer:
  .word gdt_end - gdt - 1
  .long gdt
trampoline_end:

.code32
application_processor32:
  movw $0x20, %ax
  movw %ax, %ds
  movw %ax, %ss
  movl $ap_stack_top, %esp        # one processor at a time comes through here
  call enter_long_mode
  ljmp $8, $application_processor64
.code64
application_processor64:
  lock incl application_processors
4: cli
  hlt
  jmp 4b

# Interrupt 0x40 (PIT) counts, and so does 0x41, which also ends the HPET's request; #UD from user mode returns to the kernel's continuation.
.globl timer_handler, level_handler, invalid_opcode_handler, enter_user
level_handler:
  pushq %rax
  incl level_interrupts
  movl $0xfed00020, %eax
  movl $1, (%rax)                 # HPET interrupt status: timer 0
  movl $0xfee000b0, %eax
  movl $0, (%rax)                 # local APIC EOI
  popq %rax
  iretq
timer_handler:
  pushq %rax
  incl timer_ticks
  movl $0xfee000b0, %eax
  movl $0, (%rax)                 # local APIC EOI
  popq %rax
  iretq

# enter_user(function): runs FUNCTION at CPL 3 until it executes UD2, then returns its code segment.
enter_user:
  pushq %rbx
  pushq %rbp
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, kernel_stack
  pushq $0x33                     # SS
  pushq $user_stack_top
  pushq $0x2                      # RFLAGS
  pushq $0x2b                     # CS, 64-bit, RPL 3
  pushq %rdi
  iretq
invalid_opcode_handler:
  movq 8(%rsp), %rax              # the interrupted CS
  movq kernel_stack, %rsp
  movw $0x10, %cx
  movw %cx, %ss
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbp
  popq %rbx
  ret

.section .data
.balign 8
gdt:
  .quad 0
  .quad 0x00af9b000000ffff        # 08 code, 64-bit
  .quad 0x00cf93000000ffff        # 10 data
  .quad 0x00cf9b000000ffff        # 18 code, 32-bit
  .quad 0x00cf93000000ffff        # 20 data, 32-bit
  .quad 0x00affb000000ffff        # 28 code, 64-bit, user
  .quad 0x00cff3000000ffff        # 30 data, user
tss_descriptor:
  .word 103
  .word 0
  .byte 0, 0x89, 0, 0
  .quad 0
gdt_end:
.equ tss_selector, tss_descriptor - gdt
gdt_pointer:
  .word gdt_end - gdt - 1
  .quad gdt
start_info: .long 0
.balign 8
kernel_stack: .quad 0
tss:                              # SDM 3A 8.7: only RSP0 matters here
  .long 0
  .quad interrupt_stack_top
  .skip 92
.globl application_processors, timer_ticks, level_interrupts
application_processors: .long 0
timer_ticks: .long 0
level_interrupts: .long 0

.section .bss
.balign 4096
pml4: .skip 4096
pdpt: .skip 4096
page_directories: .skip 4 * 4096
.skip 16384
stack_top:
.skip 4096
ap_stack_top:
.skip 4096
user_stack_top:
.skip 4096
interrupt_stack_top:
