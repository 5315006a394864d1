//go:build !linux

package spawn

// IsWorker reports false: workers are started on Linux only.
func IsWorker() bool { return false }
