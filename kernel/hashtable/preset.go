package hashtable

// Preset is a hash table of the kernel that is known by name.
type Preset struct {
	Name string // as the command line takes it
	What string // what is looked up in it, by what
	Net  bool   // each network namespace has one
	Gone string // why newer kernels have none, where that is so

	forms []form
}

// form is where the table is in some releases. Of several the first counts whose
// variables and members the kernel has. at and size are as Reader.variable takes
// them.
type form struct {
	at    string
	size  string // what tells the number of buckets; empty for an array
	head  string // path of the head in a bucket, with | between alternatives
	link  string // member that links the entries of bare pointers
	entry string // what the entries are, with | between alternatives
	count string // the kernel's own count of the entries
	needs string // type and member that tell this form where the variable cannot
}

// The words that a size begins with; what follows is a variable or a number.
const (
	sizeCount  = "count "  // the variable is the number of buckets
	sizeMask   = "mask "   // it is less by one
	sizeBits   = "bits "   // it is its logarithm
	sizeBits32 = "bits32 " // it is 32 less its logarithm: the shift of a 32-bit hash
	sizeBytes  = "bytes "  // the table has that many bytes
	sizeNumber = "= "      // a number
)

// The heads of tables whose variable has no type in BTF.
const (
	hlists   = ":struct hlist_head *"
	blHlists = ":struct hlist_bl_head *"
	ehash    = "tcp_hashinfo:struct inet_hashinfo:"
	udp      = "udp_table:struct udp_table:"
	arp      = "arp_tbl:struct neigh_table:"
	nd       = "nd_tbl:struct neigh_table:"
)

var presets = []Preset{
	{Name: "dentry", What: "dentries by parent and name", forms: []form{
		{at: "dentry_hashtable" + blHlists, size: sizeMask + "d_hash_mask:unsigned int", entry: "struct dentry.d_hash"},
		{at: "dentry_hashtable" + blHlists, size: sizeBits32 + "d_hash_shift:unsigned int", entry: "struct dentry.d_hash"}, // since 4.16
	}},
	{Name: "inode", What: "inodes by super_block and number", forms: []form{
		{at: "inode_hashtable" + hlists, size: sizeMask + "i_hash_mask:unsigned int", entry: "struct inode.i_hash"},
	}},
	{Name: "mount", What: "mounts by parent mount and mountpoint", forms: []form{
		{at: "mount_hashtable" + hlists, size: sizeMask + "m_hash_mask:unsigned int", entry: "struct mount.mnt_hash"}, // since 3.13
		{at: "mount_hashtable", size: sizeBytes + "4096", entry: "struct mount.mnt_hash|struct vfsmount.mnt_hash"},
	}},
	{Name: "mountpoint", What: "mountpoints by dentry", forms: []form{ // since 3.9
		{at: "mountpoint_hashtable" + hlists, size: sizeMask + "mp_hash_mask:unsigned int", entry: "struct mountpoint.m_hash"},
		{at: "mountpoint_hashtable", size: sizeBytes + "4096", entry: "struct mountpoint.m_hash|struct mountpoint.m_list"},
	}},
	{Name: "pid", What: "pids by number and namespace", Gone: "pids are in an IDR of their namespace since 4.15", forms: []form{
		{at: "pid_hash", size: sizeBits + "pidhash_shift", entry: "struct upid.pid_chain"},
	}},
	{Name: "futex", What: "waiters for futexes by address", forms: []form{
		// One a node since 6.16; the variable is an anonymous structure.
		{at: "__futex_data::queues[*]", size: sizeMask + "__futex_data::hashmask", head: "chain.node_list", entry: "struct futex_q.list.node_list"},
		{at: "__futex_data::queues", size: sizeCount + "__futex_data::hashsize", head: "chain.node_list", entry: "struct futex_q.list.node_list"},
		{at: "futex_queues", head: "chain.node_list", entry: "struct futex_q.list.node_list|struct futex_q.list.plist.node_list"}, // until 3.13
	}},
	{Name: "tcp", What: "established TCP connections by addresses and ports", forms: []form{
		{at: ehash + "ehash", size: sizeMask + ehash + "ehash_mask", head: "chain", entry: "struct sock_common.skc_nulls_node"},
		{at: ehash + "ehash", size: sizeCount + ehash + "ehash_size", head: "chain", entry: "struct sock_common.skc_nulls_node"}, // until 2.6.32
	}},
	{Name: "tcp-timewait", What: "TCP connections in TIME_WAIT by addresses and ports", Gone: "these are in the table tcp since 3.13", forms: []form{
		{at: ehash + "ehash", size: sizeMask + ehash + "ehash_mask", head: "twchain", entry: "struct sock_common.skc_nulls_node"},
		{at: ehash + "ehash", size: sizeCount + ehash + "ehash_size", head: "twchain", entry: "struct sock_common.skc_nulls_node"},
	}},
	{Name: "tcp-bind", What: "bound TCP ports by port", forms: []form{
		{at: ehash + "bhash", size: sizeCount + ehash + "bhash_size", head: "chain", entry: "struct inet_bind_bucket.node"},
	}},
	{Name: "tcp-bind2", What: "bound TCP ports by port and address", forms: []form{ // since 6.1
		{at: ehash + "bhash2", size: sizeCount + ehash + "bhash_size", head: "chain", entry: "struct inet_bind2_bucket.node"},
	}},
	{Name: "tcp-listen", What: "listening TCP sockets by port", Gone: "these are in the table tcp-listen2 alone since 6.0", forms: []form{
		{at: ehash + "listening_hash", head: "nulls_head|head", entry: "struct sock_common.skc_nulls_node"},
	}},
	{Name: "tcp-listen2", What: "listening TCP sockets by port and address", forms: []form{ // since 4.17
		// In 5.5 to 5.18 the bucket is a union, and this table has no nulls.
		{at: ehash + "lhash2", size: sizeMask + ehash + "lhash2_mask", head: "head|nulls_head", entry: "struct inet_connection_sock.icsk_listen_portaddr_node|struct sock_common.skc_nulls_node"},
	}},
	{Name: "tcp-net", What: "established TCP connections of a namespace with a table of its own", Net: true, forms: []form{ // since 6.1
		{at: "net::ipv4.tcp_death_row.hashinfo->ehash", size: sizeMask + "net::ipv4.tcp_death_row.hashinfo->ehash_mask", head: "chain", entry: "struct sock_common.skc_nulls_node"},
	}},
	{Name: "udp", What: "UDP sockets by port", forms: []form{
		{at: udp + "hash", size: sizeMask + udp + "mask", head: "head", entry: "struct sock_common.skc_node|struct sock_common.skc_nulls_node"},
		{at: udp + "hash", head: "head", entry: "struct sock_common.skc_node|struct sock_common.skc_nulls_node"}, // an array until 2.6.32
	}},
	{Name: "udp2", What: "UDP sockets by port and address", forms: []form{ // since 2.6.33
		{at: udp + "hash2", size: sizeMask + udp + "mask", head: "hslot.head|head", entry: "struct udp_sock.udp_portaddr_node|struct sock_common.skc_portaddr_node"},
	}},
	{Name: "udp-net", What: "UDP sockets of a namespace with a table of its own", Net: true, forms: []form{ // since 6.2
		{at: "net::ipv4.udp_table->hash", size: sizeMask + "net::ipv4.udp_table->mask", head: "head", entry: "struct sock_common.skc_node"},
	}},
	{Name: "neighbour", What: "IPv4 neighbours (ARP) by address", forms: neighbours(arp)},
	{Name: "neighbour6", What: "IPv6 neighbours by address", forms: neighbours(nd)},
	{Name: "fib", What: "IPv4 routes' nexthops (fib_info) by content", forms: []form{
		{at: "fib_info_hash" + hlists, size: sizeCount + "fib_info_hash_size:unsigned int", entry: "struct fib_info.fib_hash", count: "fib_info_cnt:unsigned int"},
		{at: "fib_info_hash" + hlists, size: sizeBits + "fib_info_hash_bits:unsigned int", entry: "struct fib_info.fib_hash", count: "fib_info_cnt:unsigned int"},
	}},
	{Name: "fib-local", What: "IPv4 nexthops (fib_info) by preferred source address", forms: []form{
		{at: "fib_info_laddrhash" + hlists, size: sizeCount + "fib_info_hash_size:unsigned int", entry: "struct fib_info.fib_lhash"},
		{at: "fib_info_laddrhash" + hlists, size: sizeBits + "fib_info_hash_bits:unsigned int", entry: "struct fib_info.fib_lhash"},
	}},
	{Name: "fib-device", What: "IPv4 nexthops by device", forms: []form{
		{at: "fib_info_devhash", entry: "struct fib_nh_common.nhc_hash_dev|struct fib_nh.nh_hash"},
	}},
	{Name: "fib-net", What: "IPv4 nexthops (fib_info) by content, of a namespace", Net: true, forms: []form{ // since 6.15
		{at: "net::ipv4.fib_info_hash", size: sizeBits + "net::ipv4.fib_info_hash_bits", entry: "struct fib_info.fib_hash"},
	}},
	{Name: "route-cache", What: "IPv4 routes by addresses", Gone: "there is no route cache since 3.6", forms: []form{
		{at: "rt_hash_table", size: sizeMask + "rt_hash_mask", head: "chain", link: "dst.rt_next", entry: ""},
		{at: "rt_hash_table", size: sizeMask + "rt_hash_mask", head: "chain", link: "u.dst.rt_next", entry: ""},
	}},
	{Name: "conntrack", What: "connections that netfilter tracks, in both directions, by tuple", Net: false, forms: []form{ // one for all since 4.7
		{at: "nf_conntrack_hash:struct hlist_nulls_head *", size: sizeCount + "nf_conntrack_htable_size:unsigned int", entry: "struct nf_conntrack_tuple_hash.hnnode"},
	}},
	{Name: "conntrack-net", What: "connections that netfilter tracks in a namespace, in both directions, by tuple", Net: true, Gone: "all namespaces share the table conntrack since 4.7", forms: []form{
		{at: "net::ct.hash", size: sizeCount + "net::ct.htable_size", entry: "struct nf_conntrack_tuple_hash.hnnode"},
		{at: "net::ct.hash", size: sizeCount + "nf_conntrack_htable_size:unsigned int", entry: "struct nf_conntrack_tuple_hash.hnnode"},
	}},
	{Name: "conntrack-expect", What: "connections that netfilter expects, by tuple", forms: []form{
		{at: "nf_ct_expect_hash" + hlists, size: sizeCount + "nf_ct_expect_hsize:unsigned int", entry: "struct nf_conntrack_expect.hnode"},
	}},
	{Name: "nat", What: "connections with NAT by source", forms: []form{
		{at: "nf_nat_bysource" + hlists, size: sizeCount + "nf_nat_htable_size:unsigned int", entry: "struct nf_conn.nat_bysource"},
	}},
	{Name: "device-name", What: "network devices by name", Net: true, forms: []form{
		{at: "net::dev_name_head", size: sizeNumber + "256", entry: "struct netdev_name_node.hlist|struct net_device.name_hlist"},
	}},
	{Name: "device-index", What: "network devices by index", Net: true, forms: []form{
		{at: "net::dev_index_head", size: sizeNumber + "256", entry: "struct net_device.index_hlist"},
	}},
	{Name: "address", What: "IPv4 addresses of the machine", forms: []form{
		{at: "inet_addr_lst", entry: "struct in_ifaddr.addr_lst|struct in_ifaddr.hash"},
	}},
	{Name: "address6", What: "IPv6 addresses of the machine", forms: []form{
		{at: "inet6_addr_lst", entry: "struct inet6_ifaddr.addr_lst"}, // until 5.16
	}},
	{Name: "address6-net", What: "IPv6 addresses of a namespace", Net: true, forms: []form{
		{at: "net::ipv6.inet6_addr_lst", size: sizeNumber + "256", entry: "struct inet6_ifaddr.addr_lst"},
	}},
	{Name: "unix", What: "UNIX sockets by name or inode", forms: []form{
		{at: "unix_socket_table", entry: "struct sock_common.skc_node"}, // until 5.18
	}},
	{Name: "unix-net", What: "UNIX sockets of a namespace by name or inode", Net: true, forms: []form{
		{at: "net::unx.table.buckets", size: sizeNumber + "512", entry: "struct sock_common.skc_node"},
	}},
	{Name: "netlink", What: "netlink sockets by port, for each protocol", forms: []form{
		{at: "nl_table:struct netlink_table *:[*32]hash"}, // a struct rhashtable since 3.17
	}},
	{Name: "fragments", What: "IPv4 packets being put together, by addresses and number", Net: true, forms: []form{
		{at: "net::ipv4.fqdir->rhashtable"}, // since 5.3
		{at: "net::ipv4.frags.rhashtable"},  // since 4.17
	}},
	{Name: "ipc", What: "System V IPC objects by key", forms: []form{ // since 4.14
		{at: "init_ipc_ns:struct ipc_namespace:ids[*].key_ht"},
	}},
	{Name: "xfrm", What: "IPsec states by destination", Net: true, forms: []form{
		{at: "net::xfrm.state_bydst", size: sizeMask + "net::xfrm.state_hmask", entry: "struct xfrm_state.bydst"},
	}},
	{Name: "uid", What: "users by number", forms: []form{{at: "uidhash_table", entry: "struct user_struct.uidhash_node"}}},
	{Name: "css_set", What: "sets of cgroups by content", forms: []form{
		{at: "css_set_table", entry: "struct css_set.hlist"},
	}},
	{Name: "posix-timer", What: "POSIX timers by process and number", forms: []form{
		{at: "posix_timers_hashtable", entry: "struct k_itimer.t_hash"},
		{at: "__timer_data::buckets", size: sizeMask + "__timer_data::mask", entry: "struct k_itimer.t_hash"}, // since 6.15
	}},
	{Name: "page-wait", What: "waiters for pages", forms: []form{
		{at: "folio_wait_table"}, {at: "page_wait_table"},
	}},
	{Name: "bit-wait", What: "waiters for bits", forms: []form{{at: "bit_wait_table"}}},
	{Name: "file-lock", What: "file locks that wait, by owner", forms: []form{
		{at: "blocked_hash", entry: "struct file_lock_core.flc_link|struct file_lock.fl_link"},
	}},
	{Name: "kprobe", What: "kprobes by address", forms: []form{{at: "kprobe_table", entry: "struct kprobe.hlist"}}},
	{Name: "lock-class", What: "lockdep's lock classes by key", forms: []form{{at: "classhash_table", entry: "struct lock_class.hash_entry"}}},
	{Name: "lock-chain", What: "lockdep's chains of locks", forms: []form{{at: "chainhash_table", entry: "struct lock_chain.entry"}}},
	{Name: "stack-depot", What: "stack traces by content", forms: []form{
		{at: "stack_table:struct list_head *", size: sizeMask + "stack_hash_mask:unsigned int", entry: "struct stack_record.hash_list", needs: "struct stack_record.hash_list"}, // since 6.9
		{at: "stack_table:struct stack_record * *", size: sizeMask + "stack_hash_mask:unsigned int", link: "next", needs: "struct stack_record.next"},                           // since 5.16
		{at: "stack_table", link: "next"},
	}},
	{Name: "character-device", What: "character device regions by major number", forms: []form{{at: "chrdevs", link: "next"}}},
	{Name: "audit-inode", What: "audit's watches by inode", forms: []form{{at: "audit_inode_hash", entry: "struct audit_entry.list"}}},
	{Name: "ipvs", What: "IPVS connections by addresses and ports", forms: []form{
		{at: "ip_vs_conn_tab" + hlists, size: sizeMask + "ip_vs_conn_tab_mask:int", entry: "struct ip_vs_conn.c_list"},
	}},
	{Name: "tcp-metrics", What: "what TCP remembers of its peers, by address", forms: []form{ // since 3.6
		{at: "tcp_metrics_hash:struct tcpm_hash_bucket *", size: sizeBits + "tcp_metrics_hash_log:unsigned int", head: "chain", link: "tcpm_next"},
	}},
}

// neighbours are the forms of a neigh_table's hash: bare pointers in the table
// itself until 2.6.37, in a structure of their own until 6.12, and hlists since.
func neighbours(table string) []form {
	return []form{
		{at: table + "nht->hash_heads", size: sizeBits + table + "nht->hash_shift", entry: "struct neighbour.hash", count: table + "entries.counter"},
		{at: table + "nht->hash_buckets", size: sizeBits + table + "nht->hash_shift", link: "next", count: table + "entries.counter"},
		{at: table + "hash_buckets", size: sizeMask + table + "hash_mask", link: "next", count: table + "entries.counter"},
	}
}

// Presets are the tables that are known by name, in the order of their kind.
func Presets() []Preset { return presets[:len(presets):len(presets)] }
