//go:build !linux

package fork

// IsWorker reports false: workers are started on Linux only.
func IsWorker() bool { return false }
