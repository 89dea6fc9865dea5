package dump

// takeFacts collects what the headers and notes of the first part say, and
// what is wrong with any of them.
func (k *kdumpImage) takeFacts() {
	h := k.parts[0].header
	f := &k.facts
	*f = Facts{
		Format:        FormatKdump,
		Variant:       storeVariant(k.parts[0].file),
		Arch:          machineArch(h.uts.Machine),
		ByteOrder:     h.order,
		Is64:          h.is64,
		PageSize:      h.blockSize,
		MaxPhys:       h.maxMapNr << k.pageShift,
		Uts:           h.uts,
		Time:          h.time,
		DumpLevel:     h.dumpLevel,
		Version:       h.version,
		PhysBase:      int64(h.physBase),
		PhysBaseValid: h.is64 && machineArch(h.uts.Machine) == ArchX86_64 && !h.byQEMU(),
		byQEMU:        h.byQEMU(),
	}
	if !h.is64 {
		f.PhysBase = int64(int32(h.physBase))
	}
	if h.version > newestKdump {
		f.warn("the header has version %d, newer than %d, the newest that is known; what it adds is ignored", h.version, newestKdump)
	}
	for _, p := range k.parts {
		f.Files = append(f.Files, p.file.name())
		p.checkComplete(f)
	}
	k.splitFacts()
	first := k.parts[0]
	if text := first.blob(h.vmcoreinfo, f, "VMCOREINFO"); text != nil {
		f.takeVMCoreInfo(text, "the sub-header")
	}
	if h.uts.Machine == "Unknown" { // QEMU calls all machines so but x86
		f.Arch = f.VMCoreInfo.arch()
	}
	if data := first.blob(h.notes, f, "notes"); data != nil {
		f.takeNotes(data)
	}
	f.finish()
}

// blob reads a stretch that the sub-header names.
func (p *kdumpPart) blob(r fileRange, f *Facts, what string) []byte {
	if r.size == 0 || r.off == 0 {
		return nil
	}
	off, size := clampOff(r.off), clampOff(r.size)
	if !inStore(off, size, p.file.size()) || size > p.file.heap() || size > maxNoteBytes {
		f.warn("%s: the %s at offset %#x (%d bytes) reach past the end of the file, or are longer than any", p.file.name(), what, r.off, r.size)
		return nil
	}
	data, err := p.file.view(off, int(size), nil)
	if err != nil {
		f.warn("%s: the %s cannot be read: %v", p.file.name(), what, err)
		return nil
	}
	return data
}
