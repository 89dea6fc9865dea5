#include "types.h"

struct later {
	u64 number;
	struct list_head list;
	struct later *next;
};

struct later later = { .number = 1 };
static u64 twice;

struct local {
	char in_second[24];
};
struct local local_second;

extern struct everything everything;

u64 second(struct later *l)
{
	struct inside {
		u64 sum;
		u32 low, high;
	} pair = { l->number, 1, 2 };
	volatile struct inside *p = &pair;

	twice += p->sum + everything.bits.a;
	return twice;
}
