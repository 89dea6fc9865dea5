package vfs

// What a sweep over the slabs of dentries and inodes needs: decoding from bytes that
// are at hand, without reading anything else.

// DentrySpan is how many bytes of an object DecodeDentry looks at.
func (fs *FS) DentrySpan() int { return fs.dentry.Span() }

// DecodeDentry fills d from the bytes of the dentry at a virtual address, of which
// there must be DentrySpan; d refers to them.
func (fs *FS) DecodeDentry(d *Dentry, addr uint64, object []byte) { fs.dentry.decode(d, addr, object) }

// InlineName is the dentry's name where it lies in the dentry itself, as short ones
// do; false where it lies elsewhere, or where its length cannot be.
func (fs *FS) InlineName(d *Dentry) ([]byte, bool) {
	if d.Name-(d.Addr+fs.dentry.ShortName.Offset()) != 0 {
		return nil, false
	}
	short := fs.dentry.ShortName.Get(d.raw)
	if uint64(d.Len) > uint64(len(short)) {
		return nil, false
	}
	return short[:d.Len], true
}

// OnShrinkList tells whether somebody has taken the dentry off its LRU to free it.
func (fs *FS) OnShrinkList(d *Dentry) bool {
	return fs.known.shrinkList != 0 && d.Flags&fs.known.shrinkList != 0
}

// Killed tells whether the dentry is being freed, or waits for a grace period of RCU
// to be: by DCACHE_DENTRY_KILLED (since 3.12) or a negative count.
func (fs *FS) Killed(d *Dentry) bool { return d.Count < 0 || d.Flags&fs.known.killed != 0 }

// AliasOffset is where in a dentry the link is that leads from its inode to it
// (i_dentry, d_alias); false where that is not known.
func (fs *FS) AliasOffset() (uint64, bool) { return fs.dentry.Alias.Offset(), fs.dentry.Alias.Has() }
