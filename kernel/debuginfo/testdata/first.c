#include "types.h"

extern struct everything everything; /* as init_task: declared, then defined */
struct everything everything = { .colour = GREEN };

struct bits some_bits;
struct packed_bits packed;
struct arrays *arrays;
struct holes holes[4];
struct opaque *hidden;
static enum signedness sign = BELOW;
static struct list_head twice = { &twice, &twice };
int lonely = LONELY_CONSTANT;

/* another struct of this name is in second.c */
struct local {
	int in_first;
};
struct local local_first;

static int helper(struct op *op, const char *text, u64 n, ...)
{
	return op->private && text && n > (u64)sign;
}

static inline __attribute__((always_inline)) int inner(struct everything *e, int step)
{
	int doubled = step * 2;

	e->flag = doubled > 7;
	return e->colour + doubled;
}

static inline __attribute__((always_inline)) int outer(struct everything *e)
{
	return inner(e, e->wide_char) +
	       1;
}

int entry(struct everything *e, int count)
{
	struct list_head *local = &twice;
	e->ops.call = helper;
	e->list.next = local;
	count += outer(e);
	return count + e->bits.b;
}
