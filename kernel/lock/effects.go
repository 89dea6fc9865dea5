package lock

import (
	"strings"

	"github.com/kmortem/mortem/kernel/arch/taken"
)

// effect is a function that takes or gives back a lock.
type effect struct {
	taken.Effect
	kind Kind
	mode Mode
	lock string // the variable, for functions that are about one lock
}

// effects are the functions that take and give back locks, by name.
var effects = map[string][]effect{}

// tags tell apart what one function takes and another gives back.
const (
	tagNone = iota
	tagSpin
	tagReadLock
	tagWriteLock
	tagMutex
	tagReadSem
	tagWriteSem
	tagSemaphore
	tagPercpuRead
	tagPercpuWrite
	tagSRCU
	tagBit
	tagFolio
	tagBuffer
	tagRT
)

type tagged struct {
	kind Kind
	mode Mode
}

var tagKinds = map[int]tagged{
	tagSpin: {Spinlock, ""}, tagReadLock: {RWLock, Read}, tagWriteLock: {RWLock, Write}, tagMutex: {Mutex, ""},
	tagReadSem: {RWSem, Read}, tagWriteSem: {RWSem, Write}, tagSemaphore: {Semaphore, ""},
	tagPercpuRead: {PercpuRWSem, Read}, tagPercpuWrite: {PercpuRWSem, Write}, tagSRCU: {SRCU, Read},
	tagBit: {BitLock, ""}, tagFolio: {FolioLock, ""}, tagBuffer: {BufferLock, ""}, tagRT: {RTMutex, ""},
}

func addEffect(tag int, e taken.Effect, names ...string) {
	e.Tag = tag
	for _, n := range names {
		effects[n] = append(effects[n], effect{Effect: e, kind: tagKinds[tag].kind, mode: tagKinds[tag].mode})
	}
}

func fixedEffect(tag int, e taken.Effect, variable string, names ...string) {
	e.Tag = tag
	for _, n := range names {
		effects[n] = append(effects[n], effect{Effect: e, kind: tagKinds[tag].kind, mode: tagKinds[tag].mode, lock: variable})
	}
}

var (
	take       = taken.Effect{Take: true}
	takeIf     = taken.Effect{Take: true, Success: taken.IfNonzero}
	takeUnless = taken.Effect{Take: true, Success: taken.IfZero}
	giveBack   = taken.Effect{Give: true}
	takeSecond = taken.Effect{Take: true, Success: taken.IfNonzero, Arg: 1}
)

// variants adds the endings that functions of spinlocks and rwlocks have.
func variants(names ...string) []string {
	var all []string
	for _, n := range names {
		for _, end := range []string{"", "_irq", "_irqsave", "_bh", "_irqrestore", "_nested", "_irqsave_nested", "_nest_lock"} {
			all = append(all, n+end)
		}
	}
	return all
}

func init() {
	addEffect(tagSpin, take, variants("_raw_spin_lock", "_spin_lock", "__raw_spin_lock", "__spin_lock")...)
	addEffect(tagSpin, take, "queued_spin_lock_slowpath", "native_queued_spin_lock_slowpath", "__pv_queued_spin_lock_slowpath",
		"__ticket_spin_lock", "do_raw_spin_lock")
	addEffect(tagSpin, takeIf, variants("_raw_spin_trylock", "_spin_trylock")...)
	addEffect(tagSpin, takeUnless, "lockref_get_or_lock", "lockref_put_or_lock")
	addEffect(tagSpin, giveBack, variants("_raw_spin_unlock", "_spin_unlock", "__raw_spin_unlock", "__spin_unlock")...)
	addEffect(tagSpin, giveBack, "__ticket_spin_unlock", "do_raw_spin_unlock", "native_queued_spin_unlock", "__pv_queued_spin_unlock",
		"__raw_callee_save___pv_queued_spin_unlock", "__raw_callee_save___native_queued_spin_unlock", "__pv_queued_spin_unlock_slowpath")
	addEffect(tagSpin, takeSecond, "_atomic_dec_and_lock", "atomic_dec_and_lock", "_atomic_dec_and_lock_irqsave", "_atomic_dec_and_raw_lock",
		"refcount_dec_and_lock", "refcount_dec_and_lock_irqsave")
	addEffect(tagReadLock, take, variants("_raw_read_lock", "_read_lock")...)
	addEffect(tagReadLock, take, "queued_read_lock_slowpath", "queue_read_lock_slowpath")
	addEffect(tagReadLock, giveBack, variants("_raw_read_unlock", "_read_unlock")...)
	addEffect(tagWriteLock, take, variants("_raw_write_lock", "_write_lock")...)
	addEffect(tagWriteLock, take, "queued_write_lock_slowpath", "queue_write_lock_slowpath")
	addEffect(tagWriteLock, giveBack, variants("_raw_write_unlock", "_write_unlock")...)
	addEffect(tagReadLock, takeIf, "_raw_read_trylock", "_read_trylock")
	addEffect(tagWriteLock, takeIf, "_raw_write_trylock", "_write_trylock")
	sleepingEffects()
	otherEffects()
}

func sleepingEffects() {
	addEffect(tagMutex, take, "mutex_lock", "mutex_lock_nested", "mutex_lock_io", "_mutex_lock_nest_lock", "__mutex_lock_slowpath")
	addEffect(tagMutex, takeUnless, "mutex_lock_interruptible", "mutex_lock_killable", "mutex_lock_interruptible_nested",
		"mutex_lock_killable_nested", "ww_mutex_lock", "ww_mutex_lock_interruptible")
	addEffect(tagMutex, takeIf, "mutex_trylock")
	addEffect(tagMutex, takeSecond, "atomic_dec_and_mutex_lock")
	addEffect(tagMutex, giveBack, "mutex_unlock", "ww_mutex_unlock")
	addEffect(tagReadSem, take, "down_read", "down_read_nested", "down_read_non_owner", "__down_read")
	addEffect(tagReadSem, takeUnless, "down_read_killable", "down_read_interruptible", "down_read_killable_nested")
	addEffect(tagReadSem, takeIf, "down_read_trylock")
	addEffect(tagReadSem, giveBack, "up_read", "up_read_non_owner", "__up_read")
	addEffect(tagWriteSem, take, "down_write", "down_write_nested", "_down_write_nest_lock", "__down_write", "rwsem_down_write_slowpath")
	addEffect(tagWriteSem, takeUnless, "down_write_killable", "down_write_killable_nested")
	addEffect(tagWriteSem, takeIf, "down_write_trylock")
	addEffect(tagWriteSem, giveBack, "up_write", "__up_write", "downgrade_write")
	addEffect(tagReadSem, take, "downgrade_write")
	addEffect(tagSemaphore, take, "down")
	addEffect(tagSemaphore, takeUnless, "down_interruptible", "down_killable", "down_timeout", "down_trylock")
	addEffect(tagSemaphore, giveBack, "up")
	addEffect(tagRT, take, "rt_mutex_lock")
	addEffect(tagRT, takeUnless, "rt_mutex_lock_interruptible", "rt_mutex_lock_killable")
	addEffect(tagRT, takeIf, "rt_mutex_trylock")
	addEffect(tagRT, giveBack, "rt_mutex_unlock")
}

func otherEffects() {
	addEffect(tagPercpuWrite, take, "percpu_down_write")
	addEffect(tagPercpuWrite, giveBack, "percpu_up_write")
	addEffect(tagPercpuRead, take, "percpu_down_read", "__percpu_down_read")
	addEffect(tagPercpuRead, giveBack, "percpu_up_read", "__percpu_up_read")
	addEffect(tagSRCU, take, "__srcu_read_lock", "__srcu_read_lock_nmisafe")
	addEffect(tagSRCU, giveBack, "__srcu_read_unlock", "__srcu_read_unlock_nmisafe")
	addEffect(tagBit, take, "out_of_line_wait_on_bit_lock", "bit_spin_lock", "hlist_bl_lock")
	addEffect(tagBit, giveBack, "bit_spin_unlock", "__bit_spin_unlock", "hlist_bl_unlock", "clear_and_wake_up_bit")
	addEffect(tagFolio, take, "lock_page", "folio_lock", "__lock_page", "__folio_lock")
	addEffect(tagFolio, takeUnless, "lock_page_killable", "__lock_page_killable", "__folio_lock_killable")
	addEffect(tagFolio, giveBack, "unlock_page", "folio_unlock", "folio_end_read")
	addEffect(tagBuffer, take, "__lock_buffer", "lock_buffer")
	addEffect(tagBuffer, giveBack, "unlock_buffer", "end_buffer_read_sync", "end_buffer_write_sync")
	fixedEffect(tagPercpuRead, take, "cpu_hotplug_lock", "cpus_read_lock")
	fixedEffect(tagPercpuRead, giveBack, "cpu_hotplug_lock", "cpus_read_unlock")
	fixedEffect(tagSemaphore, take, "console_sem", "console_lock")
	fixedEffect(tagSemaphore, giveBack, "console_sem", "console_unlock")
	fixedEffect(tagSemaphore, takeIf, "console_sem", "console_trylock")
}

// effectsOf are what the function at an address does with locks.
func (b *builder) effectsOf(target uint64) []taken.Effect {
	if list, ok := b.effects[target]; ok {
		return list
	}
	var list []taken.Effect
	if name := b.symbol(target); name != "" && !strings.Contains(name, "+") {
		name, _, _ = strings.Cut(name, " ")
		for _, e := range effects[strip(name)] {
			one := e.Effect
			if e.lock != "" {
				addr, err := b.k.Symbol(e.lock)
				if err != nil {
					continue
				}
				one.Fixed = addr
			}
			list = append(list, one)
		}
	}
	b.effects[target] = list
	return list
}
