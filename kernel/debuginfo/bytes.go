package debuginfo

import "github.com/kmortem/mortem/kernel/debuginfo/elffile"

// OpenBytes is Open for an ELF file in memory, which must not change as long as
// the Source is in use. The name is for messages. Errors are those of Open.
func OpenBytes(name string, data []byte, opts ...Option) (Source, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	elf, err := elffile.New(name, data)
	if err != nil {
		return nil, explain(name, err)
	}
	src, err := openDWARF(name, elf, &o)
	if err != nil {
		return nil, explain(name, err)
	}
	return src, nil
}
