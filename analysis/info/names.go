package info

import (
	"strings"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/cstr"
)

// names fills in who the machine and its kernel are. The header of a
// kdump-compressed file has it all, unless QEMU wrote it; ELF files have
// nothing of it. Then init_uts_ns in memory tells.
func (r *Report) names(f *dump.Facts, m *kernel.Memory) {
	uts := f.Uts
	k := &r.Kernel
	if uts.Version != "" || uts.Nodename != "" {
		k.From = "header"
	} else if m != nil {
		if inMemory, ok := readUts(m, f); ok {
			uts, k.From = inMemory, "memory"
		}
	}
	show := func(s string) string { return cstr.Show([]byte(s)) }
	k.Sysname, k.Version, k.Hostname = show(uts.Sysname), show(uts.Version), show(uts.Nodename)
	k.Release, k.Machine = show(f.Release()), show(uts.Machine)
	if k.Machine == "" {
		k.Machine = r.Arch
	}
	if uts.Domainname != "(none)" {
		k.Domainname = show(uts.Domainname)
	}
	id, _ := f.VMCoreInfo.Get("BUILD-ID")
	k.BuildID = show(id)
}

// utsField is the size of each of the six strings of struct new_utsname
// (include/uapi/linux/utsname.h).
const utsField = 65

// readUts reads init_uts_ns. Its member name is at OFFSET(uts_namespace.name),
// in VMCOREINFO since 5.11; before, it stood behind a reference count of 4
// bytes. The release in it is the proof.
func readUts(m *kernel.Memory, f *dump.Facts) (dump.Utsname, bool) {
	addr, ok := f.VMCoreInfo.Symbol("init_uts_ns")
	if !ok {
		return dump.Utsname{}, false
	}
	offsets := []uint64{4, 0}
	if off, ok := f.VMCoreInfo.Offset("uts_namespace.name"); ok {
		offsets = []uint64{off}
	}
	for _, off := range offsets {
		var buf [6 * utsField]byte
		if _, err := m.Read(buf[:], addr+off); err != nil {
			continue
		}
		field := func(i int) string { return string(cstr.Trim(buf[i*utsField:][:utsField])) }
		uts := dump.Utsname{Sysname: field(0), Nodename: field(1), Release: field(2),
			Version: field(3), Machine: field(4), Domainname: field(5)}
		if release := f.Release(); uts.Sysname == "Linux" && uts.Release != "" && (release == "" || strings.HasPrefix(release, uts.Release)) {
			return uts, true
		}
	}
	return dump.Utsname{}, false
}
