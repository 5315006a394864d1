//go:build !linux

package core

import (
	"context"
	"fmt"
	"runtime"

	"melon/core/event"
)

type outside struct{}

func (g *Group) run(context.Context) error {
	return fmt.Errorf("core: worker processes need Linux, and this system is %s: %w", runtime.GOOS, event.ErrUnsupported)
}
