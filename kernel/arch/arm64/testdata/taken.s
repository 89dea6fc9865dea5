# What a compiler makes of taking and giving back locks, for TestOutstanding.
# taken.txt is made of it by
#   aarch64-linux-gnu-as -march=armv8.5-a -o taken.o taken.s
#   aarch64-linux-gnu-ld -Ttext=0x80000000 --defsym lock_fn=0x80100000 --defsym try_fn=0x80100100 \
#     --defsym free_fn=0x80100200 --defsym other=0x80100300 -e 0 -o taken taken.o
#   aarch64-linux-gnu-objdump -d taken | grep '^[0-9a-f ]' > taken.txt
# Each function calls other where it is looked at. The lock is at 0x90000000.
	.macro	begin
	stp	x29, x30, [sp, #-48]!
	mov	x29, sp
	stp	x19, x20, [sp, #16]
	.endm
	.macro	lock reg
	mov	\reg, #0x90000000
	.endm
	.macro	end
	ldp	x19, x20, [sp, #16]
	ldp	x29, x30, [sp], #48
	ret
	.endm

called:	begin
	lock	x0
	bl	lock_fn
	bl	other
	lock	x0
	bl	free_fn
	end
given_back:	begin
	lock	x0
	bl	lock_fn
	lock	x0
	bl	free_fn
	bl	other
	end
another_given_back:	begin
	lock	x0
	bl	lock_fn
	lock	x0
	add	x0, x0, #0x40
	bl	free_fn
	bl	other
	end
tried:	begin
	lock	x0
	bl	try_fn
	cbz	w0, 1f
	bl	other
	lock	x0
	bl	free_fn
1:	end
tried_in_vain:	begin
	lock	x0
	bl	try_fn
	tst	w0, #0xff
	b.ne	1f
	bl	other
1:	end
tried_bool:	begin
	lock	x0
	bl	try_fn
	and	w0, w0, #0xff
	tbz	w0, #0, 1f
	bl	other
1:	end
interruptible:	begin		// here try_fn returns an error number
	lock	x0
	bl	lock_fn
	tbnz	w0, #31, 1f
	bl	other
1:	end
one_way:	begin
	cbz	x1, 1f
	lock	x0
	bl	lock_fn
1:	bl	other
	end
cas:	begin
	lock	x0
	mov	w1, #0
	mov	w2, #1
	mov	w5, w1
	casa	w5, w2, [x0]
	mov	w0, w5
	cbnz	w0, 1f
	bl	other
	stlrb	wzr, [x0]
1:	end
cas_in_vain:	begin
	lock	x0
	mov	w1, #0
	mov	w2, #1
	casa	w1, w2, [x0]
	cbz	w1, 1f
	bl	other
1:	end
cas_of_another:	begin
	lock	x0
	mov	x3, x2
	casa	x3, x1, [x0]
	cmp	x3, x2
	b.ne	1f
	bl	other
1:	end
cas_or_slow:	begin
	lock	x0
	mov	w1, #0
	mov	w2, #1
	casa	w1, w2, [x0]
	cbnz	w1, 2f
1:	bl	other
	lock	x1
	stlrb	wzr, [x1]
	end
2:	bl	lock_fn
	b	1b
cas_stored:	begin
	lock	x19
	mov	w1, #0
	mov	w2, #1
	casa	w1, w2, [x19]
	cbnz	w1, 2f
1:	lock	x1
	stlrb	wzr, [x1]
	bl	other
	end
2:	mov	x0, x19
	bl	lock_fn
	b	1b
exclusive:	begin
	lock	x5
	mov	x1, #0
	mov	w2, #1
1:	ldaxr	w0, [x5]
	eor	w4, w0, w1
	cbnz	w4, 2f
	stxr	w4, w2, [x5]
	cbnz	w4, 1b
2:	cbnz	w0, 3f
	bl	other
3:	end
exclusive_in_vain:	begin
	lock	x5
	mov	x1, #0
	mov	w2, #1
1:	ldaxr	w0, [x5]
	eor	w4, w0, w1
	cbnz	w4, 2f
	stxr	w4, w2, [x5]
	cbnz	w4, 1b
2:	cbz	w0, 3f
	bl	other
3:	end
exclusive_or_slow:	begin
	lock	x5
	mov	w2, #1
1:	ldaxr	w0, [x5]
	cbnz	w0, 2f
	stxr	w4, w2, [x5]
	cbnz	w4, 1b
2:	cbnz	w0, 4f
3:	bl	other
	end
4:	mov	x0, x5
	bl	lock_fn
	b	3b
counted:	begin		// atomic_inc: nothing is taken
	lock	x5
1:	ldxr	w0, [x5]
	add	w0, w0, #1
	stxr	w1, w0, [x5]
	cbnz	w1, 1b
	bl	other
	end
bit_lse:	begin
	lock	x1
	mov	x2, #8
	ldseta	x2, x2, [x1]
	tbnz	w2, #3, 1f
	bl	other
1:	end
bit_in_vain:	begin
	lock	x1
	mov	x2, #8
	ldseta	x2, x2, [x1]
	tbz	w2, #3, 1f
	bl	other
1:	end
bit_exclusive:	begin
	lock	x1
1:	ldaxr	x2, [x1]
	orr	x3, x2, #8
	stxr	w4, x3, [x1]
	cbnz	w4, 1b
	tst	x2, #8
	b.ne	2f
	bl	other
2:	end
bit_cleared:	begin
	lock	x1
	mov	x2, #8
	ldseta	x2, x2, [x1]
	tbnz	w2, #3, 1f
	mov	x2, #8
	stclrl	x2, [x1]
	bl	other
1:	end
another_bit_cleared:	begin
	lock	x1
	mov	x2, #8
	ldseta	x2, x2, [x1]
	tbnz	w2, #3, 1f
	mov	x2, #4
	stclrl	x2, [x1]
	bl	other
1:	end
bit_cleared_exclusive:	begin
	lock	x1
	mov	x2, #8
	ldseta	x2, x2, [x1]
	tbnz	w2, #3, 1f
2:	ldxr	x2, [x1]
	and	x2, x2, #~8
	stlxr	w4, x2, [x1]
	cbnz	w4, 2b
	bl	other
1:	end
bit_kept:	begin		// hlist_bl_set_first
	lock	x1
	mov	x2, #1
	ldseta	x2, x2, [x1]
	tbnz	w2, #0, 1f
	orr	x3, x20, #1
	stlr	x3, [x1]
	bl	other
1:	end
reader:	begin
	lock	x0
	mov	w1, #0x200
	ldadda	w1, w2, [x0]
	add	w1, w1, w2
	tst	w1, #0x1ff
	b.ne	2f
1:	bl	other
	end
2:	bl	lock_fn
	b	1b
reader_left:	begin
	lock	x0
	mov	w1, #0x200
	ldadda	w1, w2, [x0]
	mov	w1, #-512
	staddl	w1, [x0]
	bl	other
	end
percpu_reader:	begin
	lock	x0
	ldr	x1, [x0]
	mrs	x2, tpidr_el1
	mov	w3, #1
	add	x1, x1, x2
	stadd	w3, [x1]
	bl	other
	end
percpu_reader_left:	begin
	lock	x0
	ldr	x1, [x0]
	mrs	x2, tpidr_el1
	mov	w3, #1
	add	x1, x1, x2
	stadd	w3, [x1]
	ldr	x1, [x0]
	mrs	x2, tpidr_el1
	mov	w3, #-1
	add	x1, x2, x1
4:	ldxr	w4, [x1]
	add	w4, w4, w3
	stxr	w5, w4, [x1]
	cbnz	w5, 4b
	bl	other
	end
behind_a_warning:	begin
	lock	x0
	bl	lock_fn
	cbnz	x20, 1f
	lock	x0
	bl	free_fn
	end
1:	brk	#0x800
	bl	other
	end
from_an_argument:	begin
	mov	x19, x0
	add	x0, x19, #0x18
	bl	lock_fn
	bl	other
	end
on_its_stack:	begin
	add	x0, sp, #32
	bl	lock_fn
	bl	other
	end
spilled:	begin
	str	x0, [sp, #40]
	add	x0, x0, #0x18
	bl	lock_fn
	bl	other
	end
of_the_task:	begin
	mrs	x0, sp_el0
	ldr	x0, [x0, #0x10]
	add	x0, x0, #8
	bl	lock_fn
	bl	other
	end
bit_spin:	begin
	lock	x1
1:	ldr	x2, [x1]
	tbnz	w2, #0, 3f
	mov	x2, #1
	ldseta	x2, x2, [x1]
	tbnz	w2, #0, 3f
	bl	other
	end
3:	yield
	ldr	x2, [x1]
	tbnz	w2, #0, 3b
	b	1b
seq_spin:	begin
	add	x4, x0, #8
	b	2f
1:	yield
2:	ldar	w3, [x4]
	tbnz	w3, #0, 1b
	bl	other
	end
