package dump

import (
	"strconv"
	"strings"
)

// VMCoreInfo is the text that the kernel keeps about itself for dump tools
// (Linux kernel/crash_core.c, kernel/vmcore_info.c since 6.8; documented in
// Documentation/admin-guide/kdump/vmcoreinfo.rst). Addresses are kernel virtual
// addresses as of the running kernel, after KASLR. The methods that look up a key
// return false where the text has none of it or no number there, and may be
// called on nil, which has no keys.
type VMCoreInfo struct {
	Raw  string // the text itself, without the padding behind it
	keys []string
	vals map[string]string
}

// ParseVMCoreInfo reads the text of a VMCOREINFO note. Lines that are not of
// the form key=value are passed over; of a key that stands there twice the
// first value counts.
func ParseVMCoreInfo(text []byte) *VMCoreInfo {
	v := &VMCoreInfo{Raw: strings.TrimRight(string(text), "\x00"), vals: make(map[string]string)}
	for line := range strings.Lines(v.Raw) {
		key, val, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "=")
		if !ok || key == "" {
			continue
		}
		if _, twice := v.vals[key]; twice {
			continue
		}
		v.keys = append(v.keys, key)
		v.vals[key] = val
	}
	return v
}

// Keys are the keys in the order of the text.
func (v *VMCoreInfo) Keys() []string {
	if v == nil {
		return nil
	}
	return v.keys
}

// Get returns the value of a key such as "OSRELEASE" or "BUILD-ID".
func (v *VMCoreInfo) Get(key string) (string, bool) {
	if v == nil {
		return "", false
	}
	s, ok := v.vals[key]
	return s, ok
}

// Symbol returns SYMBOL(name), a kernel virtual address.
func (v *VMCoreInfo) Symbol(name string) (uint64, bool) {
	return v.parse("SYMBOL("+name+")", 16)
}

// Size returns SIZE(name) in bytes.
func (v *VMCoreInfo) Size(name string) (uint64, bool) { return v.parse("SIZE("+name+")", 10) }

// Offset returns OFFSET(name), name being "struct.member", in bytes.
func (v *VMCoreInfo) Offset(name string) (uint64, bool) { return v.parse("OFFSET("+name+")", 10) }

// Length returns LENGTH(name), a number of array elements.
func (v *VMCoreInfo) Length(name string) (uint64, bool) { return v.parse("LENGTH("+name+")", 10) }

// Number returns NUMBER(name), which may be negative.
func (v *VMCoreInfo) Number(name string) (int64, bool) {
	s, ok := v.Get("NUMBER(" + name + ")")
	if !ok {
		return 0, false
	}
	if n, err := strconv.ParseInt(s, 0, 64); err == nil {
		return n, true
	}
	// Some numbers are printed with %lx and without a prefix, and some
	// exceed the positive range of a signed one.
	if n, err := strconv.ParseUint(s, 0, 64); err == nil {
		return int64(n), true
	}
	n, err := strconv.ParseUint(s, 16, 64)
	return int64(n), err == nil
}

// Hex returns a bare hexadecimal key such as KERNELOFFSET, in bytes.
func (v *VMCoreInfo) Hex(key string) (uint64, bool) { return v.parse(key, 16) }

// Page returns PAGESIZE, the size of the kernel's pages in bytes, if it is a size
// that pages can have.
func (v *VMCoreInfo) Page() (uint64, bool) {
	n, ok := v.parse("PAGESIZE", 10)
	return n, ok && n >= 4096 && n <= 1<<20 && n&(n-1) == 0
}

func (v *VMCoreInfo) parse(key string, base int) (uint64, bool) {
	s, ok := v.Get(key)
	if !ok {
		return 0, false
	}
	if base == 16 {
		s = strings.TrimPrefix(s, "0x")
	}
	n, err := strconv.ParseUint(s, base, 64)
	return n, err == nil
}

// arch is the architecture of a kernel, by what only its VMCOREINFO has.
func (v *VMCoreInfo) arch() Arch {
	for key, arch := range map[string]Arch{
		"NUMBER(phys_base)":           ArchX86_64,
		"NUMBER(kimage_voffset)":      ArchARM64,
		"NUMBER(va_kernel_pa_offset)": ArchRISCV64,
	} {
		if _, ok := v.Get(key); ok {
			return arch
		}
	}
	return ArchUnknown
}
