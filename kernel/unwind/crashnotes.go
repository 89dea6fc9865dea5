package unwind

import (
	"github.com/kmortem/mortem/dump"
)

// fromCrashNotes is the source of registers that the kernel has saved itself.
const fromCrashNotes = "crash_notes"

// crashNoteSize is more than the kernel keeps for a processor: an elf_prstatus has
// 336 bytes on x86-64, and 392 on arm64.
const crashNoteSize = 512

// crashNotes gives processors of which the dump's headers have no registers those
// that the kernel saved when it crashed (crash_save_cpu, kernel/kexec_core.c;
// per-CPU at crash_notes, which kdump takes its notes from). A kernel that did not
// crash, or has no kdump, keeps none.
func (t *Tracer) crashNotes(list []CPU) {
	at, err := t.k.Symbol("crash_notes")
	if err != nil {
		return
	}
	notes, err := t.k.Uint64(at)
	if err != nil || notes == 0 {
		return
	}
	for i := range list {
		c := &list[i]
		if c.Source != "" {
			continue
		}
		if note, ok := t.crashNote(notes, c.Number); ok && t.savedBy(c, &note) {
			note.Source = fromCrashNotes
			t.take(c, &note)
		}
	}
}

// crashNote reads the note of a processor.
func (t *Tracer) crashNote(notes uint64, cpu int) (dump.CPU, bool) {
	addr, err := t.k.PerCPU(notes, uint64(cpu))
	if err != nil {
		return dump.CPU{}, false
	}
	b := make([]byte, crashNoteSize)
	n, err := t.mem.Read(b, addr)
	if err != nil && n < crashNoteSize/2 {
		return dump.CPU{}, false
	}
	return t.k.Image().Facts().ParsePRStatus(b[:n])
}

// savedBy tells whether a note can be that of a processor: it names the task that
// the processor had, or one whose stack the processor was on.
func (t *Tracer) savedBy(c *CPU, note *dump.CPU) bool {
	if c.Task == nil {
		return true
	}
	return int32(note.PID) == c.Task.PID || t.sameStack(c, note)
}
