/* The types that the tests know, in all the forms that kernels use. */

typedef unsigned char u8;
typedef int wchar_like;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed long long s64;

struct list_head {
	struct list_head *next, *prev;
};

struct opaque;   /* never defined */
struct later;    /* defined in second.c only */

enum colour { RED, GREEN = 7, BLUE };
enum signedness { BELOW = -2, ABOVE = 3 };
enum wide { SMALL = 1, HUGE_ONE = 0x8000000000000000ull };
enum { LONELY_CONSTANT = 42 };

struct bits {
	u32 a : 1;
	u32 b : 7;
	u32 c : 20;
	u32 d : 10; /* does not fit the first unit */
	u64 e : 33;
	u64 f : 31;
	int g : 5;
	_Bool h : 1;
	u8 i : 3;
	unsigned short tail;
};

struct packed_bits {
	u8 head;
	u32 a : 12;
	u32 b : 17; /* crosses a unit */
	u64 c : 37;
	u8 tail;
} __attribute__((packed));

struct anonymous {
	int first;
	union {
		struct {
			u32 low;
			u32 high;
		};
		u64 whole;
		struct {
			u8 byte[8];
		} named;
	};
	struct {
		struct list_head node;
	} *elsewhere;
	int last;
};

typedef struct {
	u32 counter;
} atomic_t;

struct op {
	int (*call)(struct op *, const char *, u64, ...);
	void (*none)(void);
	const struct op *const *(*table[3])(enum colour);
	void *private;
};

struct holes {
	u8 a;
	u64 b;
	u8 c;
	u32 d;
	u8 e;
} __attribute__((aligned(32)));

struct arrays {
	char comm[16];
	u32 matrix[3][5];
	struct bits records[2];
	struct later *pointers[4];
	int zero[0];
	struct list_head heads[];
};

struct everything {
	struct list_head list;
	struct opaque *opaque;
	struct later *later;
	volatile atomic_t count;
	const char *const name;
	struct op ops;
	struct bits bits;
	struct anonymous anonymous;
	enum colour colour;
	enum wide wide;
	float f;
	double d;
	long double ld;
	__int128 big;
	_Bool flag;
	char *restrict only;
	signed char sc;
	wchar_like wide_char;
	s64 offset;
};
