package core

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// patience is how long a line may wait for a logger that takes nothing. Whoever logs has more to do than that: a master its workers.
const patience = time.Second

// Lines are what a group tells its logger, which may take nothing: one that writes to a pipe whose reader is stuck, or to a terminal that
// was stopped. A line is waited for, so that it is there when the program goes on, whatever it does then; but where that was in vain,
// nothing is waited for any more until the logger has taken the line.
type lines struct {
	mu    sync.Mutex
	stuck <-chan struct{} // closed when the line is taken that was waited for in vain; nil where there is none
	lost  int             // lines since then
}

// log has a line logged. Arguments are those of slog.Logger.Log.
func (g *Group) log(level slog.Level, text string, args ...any) {
	logger := g.Logger
	if logger == nil {
		logger = slog.Default()
	}
	ctx, l := context.Background(), &g.lines
	if !logger.Enabled(ctx, level) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stuck != nil {
		select {
		case <-l.stuck:
			l.stuck = nil
		default:
			l.lost++
			return
		}
	}
	lost, taken := l.lost, make(chan struct{})
	l.lost = 0
	go func() {
		defer close(taken)
		if lost > 0 {
			logger.Error("core: lines of the log were lost: nothing was taken, as by a terminal that is stopped, or a pipe whose reader "+
				"does not read", "lines", lost)
		}
		logger.Log(ctx, level, text, args...)
	}()
	select {
	case <-taken:
	case <-time.After(patience):
		l.stuck = taken
	}
}
