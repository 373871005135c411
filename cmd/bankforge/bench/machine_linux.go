package bench

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// fileSystem names the kind of file system that dir is on.
func fileSystem(dir string) (string, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return "", fmt.Errorf("--dir %s: %w", dir, err)
	}
	switch s.Type {
	case 0x01021994:
		return "tmpfs", nil
	case 0x858458f6:
		return "ramfs", nil
	case 0xef53:
		return "ext4", nil
	case 0x58465342:
		return "xfs", nil
	case 0x9123683e:
		return "btrfs", nil
	case 0x794c7630:
		return "overlayfs", nil
	default:
		return fmt.Sprintf("file system %#x", s.Type), nil
	}
}

// dieWithParent has the kernel kill a child whose parent was killed.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// ticks a second in which /proc counts; Linux has told programs this number on all its machines.
const ticks = 100

// cpuOf is the processor time that a process has used, all its threads included.
func cpuOf(pid int) time.Duration {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(after)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(f[11])   // a field that is no number is a kernel
	system, _ := strconv.Atoi(f[12]) // that this program does not know
	return time.Duration(user+system) * time.Second / ticks
}

// resident is the memory that a process has in RAM now, and has had at most, in MiB.
func resident(pid int) (now, most float64) {
	path := "/proc/" + strconv.Itoa(pid) + "/status"
	return kib(field(path, "VmRSS")), kib(field(path, "VmHWM"))
}

func kib(text string) float64 {
	n, _ := strconv.ParseFloat(strings.TrimSuffix(text, " kB"), 64) // a process that has ended has none
	return n / 1024
}

// filesAtMost is how many files, connections included, this process may have open.
func filesAtMost() int {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 0
	}
	return int(min(r.Max, 1<<30))
}
