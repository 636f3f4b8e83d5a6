/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tiny guest that shows whether KVM really works: a multiboot image of about 500 bytes, position-fixed at LOAD. It does
 * what every kernel does first (paging, 64-bit mode, an interrupt of the APIC's timer that ends a HLT), and then computes.
 * The last is what tells: some nested KVMs run a kernel's own code instruction by instruction in software, so that all of it
 * works and nothing is ever done. It writes a letter for each stage to port 0xe9, and ends QEMU through isa-debug-exit.
 */
#define LOAD 0x100000
#define AT(label) (LOAD + label - image)
#define TABLES 0x300000 /* PML4, PDPT, four page directories: 4 GiB one to one */
#define IDT 0x306000
#define APIC 0xfee00000
#define LOOPS 100000000 /* 0.1 s at the very most on any CPU that computes by itself */

.macro stage letter
    movb $\letter, %al
    outb %al, $0xe9
.endm

    .section .rodata
    .globl qemu_probe_image, qemu_probe_image_end
    .balign 16
qemu_probe_image:
image:
    .code32
    .long 0x1badb002, 0x10003, -(0x1badb002 + 0x10003) /* page-aligned, memory map, addresses below */
    .long LOAD, LOAD, 0, 0, AT(entry), 0, 0, 0, 0
entry:
    stage 'a'
    movl $0x200000, %esp
    xorl %eax, %eax
    movl $TABLES, %edi
    movl $(6 * 1024), %ecx
    cld
    rep stosl
    movl $(TABLES + 0x1003), TABLES
    movl $(TABLES + 0x2003), TABLES + 0x1000
    movl $(TABLES + 0x3003), TABLES + 0x1008
    movl $(TABLES + 0x4003), TABLES + 0x1010
    movl $(TABLES + 0x5003), TABLES + 0x1018
    movl $(TABLES + 0x2000), %edi
    movl $0x83, %eax
    movl $2048, %ecx
1:  movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    loop 1b
    stage 'b'
    movl %cr4, %eax
    orl $0x20, %eax
    movl %eax, %cr4
    movl $TABLES, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl %cr0, %eax
    orl $0x80000000, %eax
    movl %eax, %cr0
    lgdt AT(gdt_pointer)
    ljmp $8, $AT(long_mode)

    .code64
long_mode:
    movl $16, %eax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    stage 'c'
    movb $0xff, %al
    outb %al, $0x21
    outb %al, $0xa1
    movl $AT(on_timer), %eax
    movl $(IDT + 0x200), %edi
    movw %ax, (%rdi)
    movl $0x8e000008, 2(%rdi)
    shrl $16, %eax
    movw %ax, 6(%rdi)
    movq $0, 8(%rdi)
    lidt AT(idt_pointer)
    movl $APIC, %ebx
    movl $0x1ff, 0xf0(%rbx) /* on */
    movl $0x20, 0x320(%rbx) /* timer: once, vector 0x20 */
    movl $0xb, 0x3e0(%rbx)
    movl $100000, 0x380(%rbx)
    sti
    hlt
    stage 'e'
    xorl %eax, %eax
    cpuid
    rdtsc
    movl $LOOPS, %ecx
2:  decl %ecx
    jnz 2b
    stage 'f'
    movw $0x501, %dx
    movb $0x21, %al
    outb %al, %dx
3:  hlt
    jmp 3b
on_timer:
    stage 'd'
    movl $APIC, %ebx
    movl $0, 0xb0(%rbx)
    iretq

    .balign 8
gdt:
    .quad 0, 0x00209a0000000000, 0x0000920000000000
gdt_pointer:
    .word 23
    .long AT(gdt)
    .long 0
idt_pointer:
    .word 0x20f
    .quad IDT
    .balign 16
qemu_probe_image_end:
    .section .note.GNU-stack, "", @progbits
