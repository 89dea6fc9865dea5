package unwind

import (
	"errors"
	"testing"

	"github.com/kmortem/mortem/kernel/arch/amd64"
)

func TestLocations(t *testing.T) {
	tr := &Tracer{mem: nothing{}, reg: (amd64.Arch{}).Registers(), runtime: func(_ *Frame, link uint64) (uint64, bool) { return link + 0x100, true }}
	f := Frame{CFA: 0x2000}
	f.Registers.Set(amd64.BX, 0x11)
	f.Registers.Set(amd64.SP, 0x1000)
	for name, tc := range map[string]struct {
		expr string
		want Location
		err  error
	}{
		"register":                {"\x53", Location{Value: 0x11, Reg: "bx"}, nil},
		"unknown register":        {"\x55", Location{}, ErrUnknownRegister},
		"on the stack":            {"\x91\x70", Location{Memory: true, Addr: 0x1ff0}, nil},
		"by the stack pointer":    {"\x77\x08", Location{Memory: true, Addr: 0x1008}, nil},
		"address":                 {"\x03\x00\x10\x00\x00\x00\x00\x00\x00", Location{Memory: true, Addr: 0x1100}, nil},
		"a computed value":        {"\x73\x01\x32\x1e\x9f", Location{Value: 0x24}, nil},
		"a value in the code":     {"\x9e\x02\x34\x12", Location{Value: 0x1234}, nil},
		"a negative constant":     {"\x09\xff\x9f", Location{Value: ^uint64(0)}, nil},
		"value at the entry":      {"\xa3\x01\x55\x9f", Location{}, ErrEntryValue},
		"nothing":                 {"", Location{}, ErrOptimizedOut},
		"an unknown operation":    {"\xe0", Location{}, ErrLocation},
		"a value that is missing": {"\x22", Location{}, ErrLocation},
		"a loop":                  {"\x2f\xfd\xff", Location{}, ErrLocation},
		"unreadable":              {"\x77\x00\x06", Location{}, errExcluded},
	} {
		got, err := tr.Locate(&Trace{Frames: []Frame{f}}, 0, []byte(tc.expr), []byte("\x9c"))
		if !errors.Is(err, tc.err) || err == nil && (got.Memory != tc.want.Memory || got.Addr != tc.want.Addr || got.Value != tc.want.Value || got.Reg != tc.want.Reg) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	got, err := tr.Locate(&Trace{Frames: []Frame{f}}, 0, []byte("\x53\x93\x08\x93\x04\x77\x00\x93\x04"), nil)
	if err != nil || len(got.Pieces) != 3 || got.Pieces[0].Value != 0x11 || got.Pieces[1].Err == nil || got.Pieces[2].Addr != 0x1000 || got.Pieces[2].Size != 4 {
		t.Errorf("pieces: %+v, %v", got, err)
	}
}
