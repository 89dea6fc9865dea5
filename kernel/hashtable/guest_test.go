package hashtable_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/fixtures/recorded"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/hashtable"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// tables are those of a preset in the main boot's dump.
func tables(t *testing.T, k *kernel.Kernel, name string) []*hashtable.Table {
	t.Helper()
	p, err := hashtable.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	list, err := hashtable.New(k).Tables(p, 0)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return list
}

// entries are those of all chains, sorted.
func entries(t *testing.T, table *hashtable.Table) []uint64 {
	t.Helper()
	list := []uint64{}
	for c, err := range table.Chains(0, table.Buckets) {
		if err != nil {
			t.Fatal(err)
		}
		for e, err := range table.Entries(c.Bucket) {
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, e)
		}
	}
	slices.Sort(list)
	return list
}

// column is what a file of /proc/net has in one of its columns, as numbers, for the
// lines whose other column is a value.
func column(t *testing.T, text string, n int, at int, value string) []uint64 {
	t.Helper()
	list := []uint64{}
	for _, line := range strings.Split(strings.TrimSpace(text), "\n")[1:] {
		f := strings.Fields(line)
		if at >= 0 && f[at] != value {
			continue
		}
		v, err := strconv.ParseUint(strings.TrimSuffix(f[n], ":"), 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, v)
	}
	slices.Sort(list)
	return list
}

// TestSockets: the sockets in the tables are those whose addresses the guest read
// from /proc/net.
func TestSockets(t *testing.T) {
	k := kerneltest.MainFS(t).Kernel()
	proc := fixtures.Truth(t, "main").Early
	const established, listening = "01", "0A"
	for _, c := range []struct {
		table string
		want  []uint64
	}{
		{"tcp", column(t, proc["/proc/net/tcp"], 11, 3, established)},
		{"tcp-listen2", append(column(t, proc["/proc/net/tcp"], 11, 3, listening), column(t, proc["/proc/net/tcp6"], 11, 3, listening)...)},
		{"udp", column(t, proc["/proc/net/udp"], 11, -1, "")},
		{"unix-net", column(t, proc["/proc/net/unix"], 0, -1, "")},
	} {
		slices.Sort(c.want)
		if got := entries(t, tables(t, k, c.table)[0]); fmt.Sprint(got) != fmt.Sprint(c.want) || len(got) == 0 {
			t.Errorf("%s: %x, the guest said %x", c.table, got, c.want)
		}
	}
	// Two ports listen, and one of each connection's ends is another.
	if got := entries(t, tables(t, k, "tcp-bind")[0]); len(got) != 3 {
		t.Errorf("%d bound ports", len(got))
	}
}

// TestNamespaces: every network namespace that the guest's kernel had in its list,
// and the one that could not die, has a netlink socket of the kernel.
func TestNamespaces(t *testing.T) {
	k := kerneltest.MainFS(t).Kernel()
	plant := fixtures.Truth(t, "main").Plant
	routes := tables(t, k, "netlink")[0]
	if got := len(entries(t, routes)); got != len(plant.Nets)+1 || routes.Counter == nil || *routes.Counter != int64(got) {
		t.Errorf("%d sockets of NETLINK_ROUTE, %v counted, for %d namespaces", got, routes.Counter, len(plant.Nets)+1)
	}
	r := hashtable.New(k)
	p, err := hashtable.Lookup("device-name")
	if err != nil {
		t.Fatal(err)
	}
	nets, err := r.Nets()
	if err != nil || len(nets) != len(plant.Nets)-1 {
		t.Errorf("%d namespaces beside init_net, %v; the guest has %d in all", len(nets), err, len(plant.Nets))
	}
	for _, net := range nets {
		one, err := r.Tables(p, net)
		if err != nil || one[0].Net != net || len(entries(t, one[0])) != 1 {
			t.Fatalf("namespace %#x: %v, %v: not its loopback device", net, one, err)
		}
	}
}

// TestDrgn: dentry_hashtable as drgn walked it.
func TestDrgn(t *testing.T) {
	var drgn recorded.Drgn
	fixtures.Recorded(t, "main/drgn.json", &drgn)
	table := tables(t, kerneltest.MainFS(t).Kernel(), "dentry")[0]
	histogram := map[string]uint64{}
	hashed := uint64(0)
	for c, err := range table.Chains(0, table.Buckets) {
		if err != nil {
			t.Fatal(err)
		}
		histogram[strconv.Itoa(c.Length)]++
		hashed += uint64(c.Length)
	}
	if fmt.Sprintf("%x", table.Addr) != drgn.Dcache.Table || hashed != drgn.Dcache.Hashed {
		t.Errorf("table at %x with %d entries; drgn: %s, %d", table.Addr, hashed, drgn.Dcache.Table, drgn.Dcache.Hashed)
	}
	for length, n := range drgn.Dcache.Histogram {
		if length != "0" && histogram[length] != n {
			t.Errorf("%d chains of %s, drgn has %d", histogram[length], length, n)
		}
	}
}

// TestLaws: what is hashed says so itself, and what says so is hashed; counters
// count what is there.
func TestLaws(t *testing.T) {
	fs := kerneltest.MainFS(t)
	k := fs.Kernel()
	for _, p := range hashtable.Presets() {
		list, err := hashtable.New(k).Tables(p, 0)
		if err != nil && !hashtable.Absent(err) {
			t.Errorf("%s: %v", p.Name, err)
		}
		for _, table := range list {
			if n := len(entries(t, table)); table.Counter != nil && *table.Counter != int64(n) {
				t.Errorf("%s: %d entries, the kernel counts %d", table.Name, n, *table.Counter)
			}
		}
	}
	mounted := 0
	for _, m := range fs.Mounts().All() {
		if m.Parent != m.Addr {
			mounted++
		}
	}
	if n := len(entries(t, tables(t, k, "mount")[0])); n != mounted {
		t.Errorf("%d mounts are hashed, %d are mounted on something", n, mounted)
	}
	it, err := k.Type("struct inode")
	if err != nil {
		t.Fatal(err)
	}
	hash, err := it.Field("i_hash.pprev")
	if err != nil {
		t.Fatal(err)
	}
	var inodes []uint64
	for sb, err := range fs.SuperBlocks() {
		if err != nil {
			t.Fatal(err)
		}
		for inode, err := range fs.Inodes(sb) {
			if err != nil {
				t.Fatal(err)
			}
			pprev, err := k.Uint64(inode + uint64(hash.Offset))
			if err != nil {
				t.Fatal(err)
			}
			// inode_fake_hash makes it point to itself: that hashes nowhere.
			if pprev != 0 && pprev != inode+uint64(hash.Offset)-8 {
				inodes = append(inodes, inode)
			}
		}
	}
	slices.Sort(inodes)
	if got := entries(t, tables(t, k, "inode")[0]); fmt.Sprint(got) != fmt.Sprint(inodes) {
		t.Errorf("%d inodes are hashed, %d of the super_blocks' say so", len(got), len(inodes))
	}
}

// TestWhatIsMissing: what cannot be a table says why.
func TestWhatIsMissing(t *testing.T) {
	k := kerneltest.MainFS(t).Kernel()
	for text, says := range map[string]string{
		"inode_hashtable":                        "how many buckets",
		"init_task":                              "name its member",
		"jiffies":                                "no head of a list",
		"no_such_table":                          "no_such_table",
		"init_net.nosuch":                        "no member",
		"(struct list_head *)0xffff000000000000": "how many buckets",
	} {
		if _, err := hashtable.Expr(k, text, hashtable.Options{}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want something about %q", text, err, says)
		}
	}
	if _, err := hashtable.Expr(k, "css_set_table", hashtable.Options{Head: "last"}); err == nil || !strings.Contains(err.Error(), ctype.ErrNoField.Error()) {
		t.Errorf("%v", err)
	}
	if _, err := hashtable.Expr(k, "inode_hashtable", hashtable.Options{Buckets: 1 << 40}); err == nil {
		t.Error("a table of a trillion buckets")
	}
	p, err := hashtable.Lookup("pid")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hashtable.New(k).Tables(p, 0); !hashtable.Absent(err) || !strings.Contains(err.Error(), "4.15") {
		t.Errorf("pid: %v", err)
	}
	for _, p := range hashtable.Presets() {
		if p.Name == "" || p.What == "" || strings.ContainsAny(p.Name, " .*[") {
			t.Errorf("%+v", p)
		}
	}
}
