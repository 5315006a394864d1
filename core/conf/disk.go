package conf

import (
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// disk loads from the file system by raw system calls; the package comment says why.
type disk struct{}

// errNotText and errTooLarge are the refusals of disk itself.
const (
	errNotText  = diskError("neither a file nor a folder")
	errTooLarge = diskError("the configuration is larger than its limit")
)

type diskError string

func (e diskError) Error() string { return string(e) }

// Load implements Loader.
func (disk) Load(path string, limit int) (Source, error) {
	// O_NONBLOCK: opening a FIFO must not wait for a writer.
	fd, err := retry(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	})
	if err != nil {
		return Source{}, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return Source{}, err
	}
	src := Source{ID: strconv.FormatUint(uint64(st.Dev), 16) + ":" + strconv.FormatUint(uint64(st.Ino), 16)}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFCHR: // a device for the sake of /dev/null
		src.Data, err = readAll(fd, st.Size, limit)
	case unix.S_IFDIR:
		src.Folder = true
		src.Names, err = readNames(fd, limit)
	default:
		err = errNotText
	}
	if err != nil {
		return Source{}, err
	}
	return src, nil
}

// readAll reads to the end of the file. size is only a hint: files of /proc, for instance, claim to be empty.
func readAll(fd int, size int64, limit int) ([]byte, error) {
	data := make([]byte, 0, min(max(size, 0), int64(limit))+1)
	for {
		if len(data) > limit {
			return nil, errTooLarge
		}
		if len(data) == cap(data) {
			data = slices.Grow(data, 512)
		}
		n, err := retry(func() (int, error) { return unix.Read(fd, data[len(data):cap(data)]) })
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return data, nil
		}
		data = data[:len(data)+n]
	}
}

// readNames lists the regular files of a folder, without those whose name starts with a dot, in the order of their bytes:
// the order of the directory itself changes as files come and go.
func readNames(fd, limit int) ([]string, error) {
	var names []string
	buf := make([]byte, 8192)
	for total := 0; ; {
		n, err := retry(func() (int, error) { return unix.ReadDirent(fd, buf) })
		if err != nil {
			return nil, err
		}
		if n == 0 {
			slices.Sort(names)
			return names, nil
		}
		var entries []string
		_, _, entries = unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range entries {
			if total += len(name) + 1; total > limit {
				return nil, errTooLarge
			}
			if name[0] == '.' {
				continue
			}
			var st unix.Stat_t // follows links: mounted folders of configuration consist of them
			if unix.Fstatat(fd, name, &st, 0) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG {
				names = append(names, name)
			}
		}
	}
}

// retry repeats a system call that a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); err != unix.EINTR {
			return n, err
		}
	}
}
