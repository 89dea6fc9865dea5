package dump

import "testing"

func TestVMCoreInfo(t *testing.T) {
	v := ParseVMCoreInfo([]byte("OSRELEASE=6.1.0-13\nBUILD-ID=00ff\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)=ffffffff8a610000\n" +
		"SIZE(page)=64\nOFFSET(page.flags)=0\nLENGTH(zone.free_area)=11\nNUMBER(phys_base)=-4194304\nNUMBER(big)=18446744073709551615\n" +
		"NUMBER(hex)=0x40\nNUMBER(VA_BITS)=48\nKERNELOFFSET=1f000000\nno value\n=nameless\nOSRELEASE=again\nEQ=a=b\r\n\x00\x00\x00"))
	u64 := func(name string) func(uint64, bool) uint64 {
		return func(n uint64, ok bool) uint64 {
			if !ok {
				t.Errorf("no %s", name)
			}
			return n
		}
	}
	if got := u64("symbol")(v.Symbol("swapper_pg_dir")); got != 0xffffffff8a610000 {
		t.Errorf("symbol %#x", got)
	}
	if got := u64("size")(v.Size("page")); got != 64 {
		t.Errorf("size %d", got)
	}
	if got := u64("offset")(v.Offset("page.flags")); got != 0 {
		t.Errorf("offset %d", got)
	}
	if got := u64("length")(v.Length("zone.free_area")); got != 11 {
		t.Errorf("length %d", got)
	}
	if got := u64("hex")(v.Hex("KERNELOFFSET")); got != 0x1f000000 {
		t.Errorf("kernel offset %#x", got)
	}
	for name, want := range map[string]int64{"phys_base": -4194304, "big": -1, "hex": 64, "VA_BITS": 48} {
		if got, ok := v.Number(name); !ok || got != want {
			t.Errorf("number %s: %d, %v", name, got, ok)
		}
	}
	for key, want := range map[string]string{"OSRELEASE": "6.1.0-13", "EQ": "a=b"} {
		if got, ok := v.Get(key); !ok || got != want {
			t.Errorf("%s: %q", key, got)
		}
	}
	if len(v.Keys()) != 13 || v.Keys()[0] != "OSRELEASE" {
		t.Errorf("keys %q", v.Keys())
	}
	if _, ok := v.Symbol("absent"); ok {
		t.Error("a symbol that is not there")
	}
	var none *VMCoreInfo
	if _, ok := none.Get("X"); ok || none.Keys() != nil {
		t.Error("a VMCOREINFO that is not there")
	}
}
