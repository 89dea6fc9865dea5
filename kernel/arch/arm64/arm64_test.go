package arm64_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/arm64"
)

// code assembles instructions given by their encodings.
func code(words ...uint32) []byte {
	var b []byte
	for _, w := range words {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return b
}

var number = regexp.MustCompile(`0x[0-9a-f]+|ffff[0-9a-f]{12}`)

// plain removes what differs in spelling only: blanks, # before numbers, and
// their base.
func plain(text string) string {
	text = strings.NewReplacer(" ", "", "\t", "", "#", "").Replace(strings.ToLower(text))
	return number.ReplaceAllStringFunc(text, func(s string) string {
		n, err := strconv.ParseUint(strings.TrimPrefix(s, "0x"), 16, 64)
		if err != nil {
			return s
		}
		return fmt.Sprint(n)
	})
}

// TestDecoderSaysWhatObjdumpSays: the few that are spelled as numbers are system
// registers that objdump has names for, and instructions that are not known.
func TestDecoderSaysWhatObjdumpSays(t *testing.T) {
	list, err := os.ReadFile("testdata/objdump.txt")
	if err != nil {
		t.Fatal(err)
	}
	total, unlike := 0, 0
	for line := range strings.Lines(string(list)) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if strings.HasPrefix(line, "#") {
			continue
		}
		addr, err1 := strconv.ParseUint(f[0], 16, 64)
		enc, err2 := strconv.ParseUint(f[1], 16, 32)
		if len(f) < 3 || err1 != nil || err2 != nil {
			t.Fatalf("line %q", line)
		}
		want := strings.Join(f[2:], " ")
		in, err := (arm64.Decoder{}).Decode(code(uint32(enc)), addr, nil)
		total++
		switch {
		case err == nil && plain(in.Text) == plain(want):
		case err == nil && strings.Contains(in.Text, "s3_") && strings.Fields(in.Text)[0] == strings.Fields(want)[0]:
		default:
			unlike++
			t.Logf("%08x is %q, %v; objdump has %q", enc, in.Text, err, want)
		}
	}
	if total < 500 || unlike > 8 {
		t.Errorf("%d of %d instructions are spelled in another way than objdump's", unlike, total)
	}
}

func TestFlowsAndTargets(t *testing.T) {
	for _, tc := range []struct {
		word   uint32
		flow   arch.Flow
		target uint64
	}{
		{0x94000004, arch.Call, 0x1010},   // bl 0x1010
		{0x97ffffff, arch.Call, 0xffc},    // bl 0xffc
		{0x17fffffe, arch.Jump, 0xff8},    // b 0xff8
		{0x54000040, arch.Branch, 0x1008}, // b.eq 0x1008
		{0xb4ffffe0, arch.Branch, 0xffc},  // cbz x0, 0xffc
		{0x36000040, arch.Branch, 0x1008}, // tbz w0, #0, 0x1008
		{0xd63f0020, arch.Call, 0},        // blr x1
		{0xd73f0822, arch.Call, 0},        // blraa x1, x2
		{0xd61f0200, arch.Jump, 0},        // br x16
		{0xd65f03c0, arch.Return, 0},      // ret
		{0xd65f0bff, arch.Return, 0},      // retaa
		{0xd69f03e0, arch.Return, 0},      // eret
		{0xd4210000, arch.Stop, 0},        // brk #0x800
		{0xd503201f, arch.Next, 0},        // nop
	} {
		in, err := (arm64.Decoder{}).Decode(code(tc.word), 0x1000, nil)
		if err != nil || in.Flow != tc.flow || in.Target != tc.target || in.Len != 4 {
			t.Errorf("%08x: %+v, %v", tc.word, in, err)
		}
	}
	a := arm64.Arch{}
	if target, ok := a.CallTarget(code(0xd503201f, 0x94000004), 8, 0x1000); !ok || target != 0x1014 {
		t.Errorf("the call leads to %#x, %v", target, ok)
	}
	if !a.CallBefore(code(0, 0x94000004)) || a.CallBefore(code(0x94000004, 0xd503201f)) || a.CallBefore(nil) {
		t.Error("calls are not told from others")
	}
}

// Names are shown for what is relative, and the address that ADRP and the next
// instruction make together.
func TestNames(t *testing.T) {
	name := func(addr uint64) string {
		if addr == 0x1010 {
			return "schedule"
		}
		return ""
	}
	in, _ := (arm64.Decoder{}).Decode(code(0x94000004), 0x1000, name)
	if in.Text != "bl schedule" {
		t.Errorf("%q", in.Text)
	}
	// adrp x0, 0x3000; add x0, x0, #0x18; and ldr x1, [x0, #0x18]
	for _, second := range []uint32{0x91006000, 0xf9400c01} {
		if in, _ := (arm64.Decoder{}).Decode(code(0xd0000000, second), 0x1234, nil); in.Refers != 0x3018 {
			t.Errorf("%s refers to %#x", in.Text, in.Refers)
		}
	}
}

func TestFrameAt(t *testing.T) {
	c := code(
		0xd503233f, //  0: paciasp
		0xa9bd7bfd, //  4: stp x29, x30, [sp, #-48]!
		0x910003fd, //  8: mov x29, sp
		0xa90153f3, // 12: stp x19, x20, [sp, #16]
		0xf90013f5, // 16: str x21, [sp, #32]
		0xb4000080, // 20: cbz x0, 36
		0x94000000, // 24: bl
		0xa94153f3, // 28: ldp x19, x20, [sp, #16]
		0x14000002, // 32: b 40
		0xd4210000, // 36: brk #0x800
		0xf94013f5, // 40: ldr x21, [sp, #32]
		0xa8c37bfd, // 44: ldp x29, x30, [sp], #48
		0xd50323bf, // 48: autiasp
		0xd65f03c0, // 52: ret
		0xd10083ff, // 56: sub sp, sp, #0x20, behind the function
	)
	for _, tc := range []struct {
		at     int
		base   arch.Reg
		offset int64
		link   int64 // distance below the CFA, 0 where it is in the register
	}{
		{0, arm64.SP, 0, 0}, {4, arm64.SP, 0, 0}, {8, arm64.SP, 48, 40}, {12, arm64.FP, 48, 40}, {28, arm64.FP, 48, 40},
		{36, arm64.FP, 48, 40}, {48, arm64.SP, 0, 0}, {52, arm64.SP, 0, 0},
	} {
		f, ok := (arm64.Arch{}).FrameAt(c, tc.at)
		link, _ := f.Saved(arm64.LR)
		if !ok || f.Base != tc.base || f.Offset != tc.offset || link != tc.link {
			t.Errorf("at %d: base %d, offset %d, return address %d below, %v", tc.at, f.Base, f.Offset, link, ok)
		}
	}
	f, _ := (arm64.Arch{}).FrameAt(c, 28)
	x19, _ := f.Saved(19)
	x20, _ := f.Saved(20)
	x21, _ := f.Saved(21)
	if x19 != 32 || x20 != 24 || x21 != 16 || !f.Same(22) || f.Same(19) {
		t.Errorf("x19 to x21 are saved %d, %d and %d below", x19, x20, x21)
	}
	// Nothing seems to lead behind the end: a static key does, from the body.
	if f, ok := (arm64.Arch{}).FrameAt(c, 56); !ok || f.Base != arm64.FP || f.Offset != 48 || f.Same(21) {
		t.Errorf("behind the end: %+v, %v", f, ok)
	}
}

// TestFrameAtShadowCallStack: a function that keeps its return address on the shadow
// call stack keeps it in its frame record too.
func TestFrameAtShadowCallStack(t *testing.T) {
	c := code(
		0xf800865e, //  0: str x30, [x18], #8
		0xa9be7bfd, //  4: stp x29, x30, [sp, #-32]!
		0x910003fd, //  8: mov x29, sp
		0x94000000, // 12: bl
		0xa8c27bfd, // 16: ldp x29, x30, [sp], #32
		0xf85f8e5e, // 20: ldr x30, [x18, #-8]!
		0xd65f03c0, // 24: ret
	)
	for at, link := range map[int]int64{0: 0, 4: 0, 8: 24, 16: 24, 20: 0, 24: 0} {
		f, ok := (arm64.Arch{}).FrameAt(c, at)
		below, _ := f.Saved(arm64.LR)
		if !ok || below != link || link == 0 && f.Lost>>arm64.LR&1 != 0 {
			t.Errorf("at %d: return address %d below, planned %d; lost %#x, %v", at, below, link, f.Lost, ok)
		}
	}
}

func TestArgument(t *testing.T) {
	const call = 0x94000000
	for name, tc := range map[string]struct {
		before []uint32
		want   arch.Origin
		ok     bool
	}{
		"kept register":     {[]uint32{0xaa1303e0}, arch.Origin{Base: 19, HasBase: true}, true},                      // mov x0, x19
		"member":            {[]uint32{0x91004260}, arch.Origin{Base: 19, HasBase: true, Offset: 16}, true},          // add x0, x19, #16
		"on the stack":      {[]uint32{0x910023e0}, arch.Origin{Base: arm64.SP, HasBase: true, Offset: 8}, true},     // add x0, sp, #8
		"frame":             {[]uint32{0x910103a0}, arch.Origin{Base: arm64.FP, HasBase: true, Offset: 64}, true},    // add x0, x29, #64
		"load":              {[]uint32{0xf9400a60}, arch.Origin{Base: 19, HasBase: true, Offset: 16, Load: 8}, true}, // ldr x0, [x19, #16]
		"second of two":     {[]uint32{0xa9410261}, arch.Origin{Base: 19, HasBase: true, Offset: 24, Load: 8}, true}, // ldp x1, x0, [x19, #16]
		"number":            {[]uint32{0xf0000000, 0x91004000}, arch.Origin{Offset: 0x4010}, true},                   // adrp x0, 0x4000; add x0, x0, #16
		"constant":          {[]uint32{0xd2800540}, arch.Origin{Offset: 42}, true},                                   // mov x0, #42
		"two steps":         {[]uint32{0xaa1303e1, 0xaa0103e0}, arch.Origin{Base: 19, HasBase: true}, true},          // mov x1, x19; mov x0, x1
		"past a store":      {[]uint32{0xaa1303e0, 0xf9000662}, arch.Origin{Base: 19, HasBase: true}, true},          // mov x0, x19; str x2, [x19, #8]
		"past a condition":  {[]uint32{0xaa1303e0, 0xb4000061}, arch.Origin{Base: 19, HasBase: true}, true},          // mov x0, x19; cbz x1, far on
		"overwritten since": {[]uint32{0xaa1303e0, 0xd2800013}, arch.Origin{}, false},                                // mov x0, x19; mov x19, #0
		"atomic":            {[]uint32{0xaa1303e0, 0xf8e00020}, arch.Origin{}, false},                                // mov x0, x19; ldaddal x0, x0, [x1]
		"result of a call":  {[]uint32{call}, arch.Origin{}, false},
		"computed":          {[]uint32{0xaa1303e0, 0xd37df000}, arch.Origin{}, false}, // lsl x0, x0, #3
		"another path":      {[]uint32{0xb4000041, 0xaa1303e0}, arch.Origin{}, false}, // cbz x1, the call; mov x0, x19
		"nothing before":    {nil, arch.Origin{}, false},
	} {
		c := code(append(tc.before, call)...)
		got, ok := (arm64.Arch{}).Argument(c, len(c), 0x1000, 0)
		if ok != tc.ok || ok && (got.HasBase != tc.want.HasBase || got.HasBase && got.Base != tc.want.Base || got.Offset != tc.want.Offset || got.Load != tc.want.Load) {
			t.Errorf("%s: %+v, %v", name, got, ok)
		}
	}
}

func TestPtRegs(t *testing.T) {
	b := make([]byte, 272)
	for i := range 34 {
		binary.LittleEndian.PutUint64(b[8*i:], uint64(0x1000*i))
	}
	a := arm64.Arch{}
	for state, want := range map[uint64]struct{ user, sane bool }{
		0x60001000: {true, true},   // EL0t
		0x200003c5: {false, true},  // EL1h
		0x80000049: {false, true},  // EL2h
		0x20000010: {true, true},   // 32-bit user mode
		0x00000003: {false, false}, // no such mode
		1<<40 | 5:  {false, false}, // no such bit
		0x0000001f: {false, false}, // 32-bit, but not user mode
	} {
		binary.LittleEndian.PutUint64(b[33*8:], state)
		r := a.PtRegs(b, false)
		pc, _ := r.Get(arm64.PC)
		lr, _ := r.Get(arm64.LR)
		if pc != 0x20000 || lr != 0x1e000 || a.User(&r) != want.user || a.Sane(&r) != want.sane {
			t.Errorf("pstate %#x: pc %#x, lr %#x, user %v, sane %v", state, pc, lr, a.User(&r), a.Sane(&r))
		}
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(code(0xa9bd7bfd, 0x910003fd, 0x94000000, 0xa8c37bfd, 0xd65f03c0), 12)
	f.Fuzz(func(t *testing.T, code []byte, at int) {
		if at < 0 || at > len(code) {
			return
		}
		a := arm64.Arch{}
		a.FrameAt(code, at)
		a.CallBefore(code[:at])
		for _, r := range []arch.Reg{0, 1, 19, arm64.SP} {
			a.Argument(code, at, 0x1000, r)
		}
		if _, err := a.Decode(code[at:], 0x1000, nil); err == nil && len(code)-at < 4 {
			t.Error("an instruction that is cut short decodes")
		}
	})
}
