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
	twice += l->number + everything.bits.a;
	return twice;
}
