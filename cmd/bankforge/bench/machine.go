package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// Machine is what figures depend on.
type Machine struct {
	CPU        string  `json:"cpu"`
	Cores      int     `json:"cores"`
	MemoryMiB  int     `json:"memory_mib"`
	Kernel     string  `json:"kernel"`
	FileSystem string  `json:"file_system"`
	Go         string  `json:"go"`
	Revision   string  `json:"revision"`
	Wrk        string  `json:"wrk"`
	FsyncP50   float64 `json:"fsync_p50_ms"` // of 4 KiB appended to a file
	FsyncP99   float64 `json:"fsync_p99_ms"`
	LoadBefore string  `json:"load_before"` // averages over 1, 5 and 15 minutes
	LoadAfter  string  `json:"load_after"`
}

// OwnCPU is the processor time that this process has used.
func OwnCPU() time.Duration { return cpuOf(os.Getpid()) }

const fsyncs = 200

// look gathers the facts, and measures the disk that dir is on.
func look(ctx context.Context, dir string) (*Machine, error) {
	m := &Machine{
		CPU: field("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(), Kernel: firstLine("/proc/sys/kernel/osrelease"),
		Go: runtime.Version(), LoadBefore: load(), Revision: revision(), Wrk: "missing",
	}
	var kib int
	if _, err := fmt.Sscan(field("/proc/meminfo", "MemTotal"), &kib); err == nil {
		m.MemoryMiB = kib >> 10
	}
	out, _ := exec.CommandContext(ctx, "wrk", "-v").CombinedOutput() // it says so with status 1
	if first, _, ok := strings.Cut(string(out), "\n"); ok {
		m.Wrk = first
	}
	var err error
	if m.FileSystem, err = fileSystem(dir); err != nil {
		return nil, err
	}
	if m.FileSystem == "tmpfs" || m.FileSystem == "ramfs" {
		return nil, fmt.Errorf("--dir %s is in memory (%s): a durable commit needs a disk, so name a folder on one",
			dir, m.FileSystem)
	}
	return m, m.timeDisk(dir)
}

// timeDisk writes and flushes as a small commit does.
func (m *Machine) timeDisk(dir string) error {
	f, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // the whole folder goes at the end
	defer f.Close()           //nolint:errcheck // what is in it is of no use
	var h Histogram
	page := make([]byte, 4096)
	for range fsyncs {
		began := time.Now()
		if _, err := f.Write(page); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		h.Add(time.Since(began))
	}
	m.FsyncP50, m.FsyncP99 = ms(h.Quantile(0.5)), ms(h.Quantile(0.99))
	return nil
}

// load is the machine's load averages.
func load() string {
	parts := strings.Fields(firstLine("/proc/loadavg"))
	return strings.Join(parts[:min(3, len(parts))], " ")
}

// firstLine is the first line of a file, or "" where there is none.
func firstLine(path string) string {
	b, _ := os.ReadFile(path) // a system without it has nothing to say
	first, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(first)
}

// field is the value of the first "name: value" of a file.
func field(path, name string) string {
	b, _ := os.ReadFile(path) // a system without it has nothing to say
	for l := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// revision is what the program was built from.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	at, changed := "unknown", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			at = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = " with changes"
		}
	}
	return at + changed
}
