package main

import "testing"

func TestCacheSize(t *testing.T) {
	for text, want := range map[string]int64{"1": 1, "4096": 4096, "512M": 512 << 20, "2g": 2 << 30, "1T": 1 << 40, "16K": 16 << 10,
		"": 0, "M": 0, "0": 0, "-1": 0, "1.5G": 0, "1MB": 0, "2000000T": 0, "99999999999999999999": 0} {
		var s cacheSize
		if err := s.Set(text); (err == nil) != (want > 0) || int64(s) != want {
			t.Errorf("%q is %d, %v; want %d", text, s, err, want)
		}
	}
}
