/* Prints what the compiler itself says about types.h: sizes, and where each
 * member lies. Bit-fields are found by setting them. */
#include <stdio.h>
#include <stddef.h>
#include <string.h>
#include "second.c"

struct everything everything;

#define SIZE(t) printf("size %s %zu\n", #t, sizeof(t))
#define MEMBER(t, m) printf("member %s . %s %zu %zu\n", #t, #m, offsetof(t, m), sizeof(((t *)0)->m))
#define FLEXIBLE(t, m) printf("member %s . %s %zu 0\n", #t, #m, offsetof(t, m))
#define BITS(t, m)                                                        \
	do {                                                              \
		union { t s; unsigned char bytes[sizeof(t)]; } u;         \
		int first = -1, n = 0;                                    \
		memset(&u, 0, sizeof u);                                  \
		u.s.m = -1;                                               \
		for (int i = 0; i < 8 * (int)sizeof(t); i++)              \
			if (u.bytes[i / 8] >> i % 8 & 1) {                \
				if (first < 0) first = i;                 \
				n++;                                      \
			}                                                 \
		printf("bits %s . %s %d %d\n", #t, #m, first, n);         \
	} while (0)
#define CONSTANT(c) printf("constant %s %lld\n", #c, (long long)c)


int main(void)
{
	SIZE(struct list_head); SIZE(struct bits); SIZE(struct packed_bits); SIZE(struct anonymous);
	SIZE(struct op); SIZE(struct holes); SIZE(struct arrays); SIZE(struct everything);
	SIZE(struct later); SIZE(atomic_t); SIZE(u8); SIZE(u32); SIZE(u64); SIZE(s64);
	SIZE(enum colour); SIZE(enum signedness); SIZE(enum wide);
	SIZE(unsigned long); SIZE(long long); SIZE(unsigned short); SIZE(char); SIZE(long double);

	MEMBER(struct list_head, next); MEMBER(struct list_head, prev);
	BITS(struct bits, a); BITS(struct bits, b); BITS(struct bits, c); BITS(struct bits, d);
	BITS(struct bits, e); BITS(struct bits, f); BITS(struct bits, g); BITS(struct bits, i);
	MEMBER(struct bits, tail);
	MEMBER(struct packed_bits, head); BITS(struct packed_bits, a); BITS(struct packed_bits, b);
	BITS(struct packed_bits, c); MEMBER(struct packed_bits, tail);
	MEMBER(struct anonymous, first); MEMBER(struct anonymous, low); MEMBER(struct anonymous, high);
	MEMBER(struct anonymous, whole); MEMBER(struct anonymous, named); MEMBER(struct anonymous, named.byte);
	MEMBER(struct anonymous, named.byte[5]); MEMBER(struct anonymous, elsewhere); MEMBER(struct anonymous, last);
	MEMBER(struct op, call); MEMBER(struct op, none); MEMBER(struct op, table); MEMBER(struct op, table[2]);
	MEMBER(struct op, private);
	MEMBER(struct holes, a); MEMBER(struct holes, b); MEMBER(struct holes, c); MEMBER(struct holes, d);
	MEMBER(struct holes, e);
	MEMBER(struct arrays, comm); MEMBER(struct arrays, matrix); MEMBER(struct arrays, matrix[2]);
	MEMBER(struct arrays, matrix[1][4]); MEMBER(struct arrays, records[1].tail);
	MEMBER(struct arrays, pointers); MEMBER(struct arrays, pointers[3]); MEMBER(struct arrays, zero);
	FLEXIBLE(struct arrays, heads); MEMBER(struct arrays, heads[3].prev);
	MEMBER(struct everything, list.prev); MEMBER(struct everything, opaque); MEMBER(struct everything, later);
	MEMBER(struct everything, count); MEMBER(struct everything, count.counter); MEMBER(struct everything, name);
	MEMBER(struct everything, ops.table[1]); MEMBER(struct everything, bits.tail);
	MEMBER(struct everything, anonymous.high); MEMBER(struct everything, colour); MEMBER(struct everything, wide);
	MEMBER(struct everything, f); MEMBER(struct everything, d); MEMBER(struct everything, ld);
	MEMBER(struct everything, big); MEMBER(struct everything, flag); MEMBER(struct everything, only);
	MEMBER(struct everything, sc); MEMBER(struct everything, wide_char); MEMBER(struct everything, offset);
	MEMBER(struct later, number); MEMBER(struct later, list.prev); MEMBER(struct later, next);

	CONSTANT(RED); CONSTANT(GREEN); CONSTANT(BLUE); CONSTANT(BELOW); CONSTANT(ABOVE);
	CONSTANT(SMALL); CONSTANT(HUGE_ONE); CONSTANT(LONELY_CONSTANT);
	return 0;
}
