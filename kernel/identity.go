package kernel

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel/cstr"
)

// checkBuildID compares the build id in VMCOREINFO (since 5.9; absent in older
// kernels) with that of the debug information.
func (k *Kernel) checkBuildID(facts *dump.Facts, force bool) error {
	text, ok := facts.VMCoreInfo.Get("BUILD-ID")
	if !ok {
		return nil
	}
	want, err := hex.DecodeString(strings.TrimSpace(text))
	if err != nil || len(want) == 0 || len(k.info.BuildID()) == 0 {
		return nil
	}
	if bytes.Equal(want, k.info.BuildID()) {
		k.matched = true
		return nil
	}
	return k.mismatched(force, fmt.Sprintf("the dumped kernel has build id %x, %s has %x",
		want, k.info.Describe(), k.info.BuildID()))
}

// checkIdentity reads linux_banner and init_task's comm where the debug
// information says they are. They are the proof that the addresses are right,
// and for kernels without a build id in VMCOREINFO the proof of the release.
func (k *Kernel) checkIdentity(force bool) error {
	banner, err := k.banner()
	if err != nil && k.matched {
		return fmt.Errorf("%w: %w", ErrNoKernel, err)
	}
	if err != nil {
		return k.mismatched(force, fmt.Sprintf("linux_banner of %s cannot be read: %v", k.info.Describe(), err))
	}
	text, found := strings.CutPrefix(banner, "Linux version ")
	if !found {
		return k.mismatched(force, fmt.Sprintf("at the address of linux_banner in %s stands %q",
			k.info.Describe(), cstr.Show([]byte(banner[:min(len(banner), 40)]))))
	}
	release, _, _ := strings.Cut(text, " ")
	if want := k.image.Facts().Release(); want != "" && want != release {
		return k.mismatched(force, fmt.Sprintf("the dump is of release %q, its linux_banner says %q", want, release))
	}
	return nil
}

func (k *Kernel) mismatched(force bool, what string) error {
	if force {
		if k.mismatch == "" {
			k.mismatch = what
		}
		return nil
	}
	return fmt.Errorf("%w: %s; give the vmlinux of exactly that build with --vmlinux", ErrMismatch, what)
}

// Banner is the text of linux_banner: release, builder, compiler and version.
func (k *Kernel) Banner() string {
	b, err := k.banner()
	if err != nil {
		return ""
	}
	return cstr.Show(bytes.TrimRight([]byte(b), "\n"))
}

func (k *Kernel) banner() (string, error) {
	addr, err := k.Symbol("linux_banner")
	if err != nil {
		return "", err
	}
	b, err := k.CString(addr, 512)
	return string(b), err
}
