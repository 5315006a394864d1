package core_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"melon/core"
)

// comesBack sends a value to a worker and checks that it comes back the same.
func comesBack[T any](t *testing.T, m core.Message[T], values ...T) {
	t.Run(reflect.TypeFor[T]().String(), func(t *testing.T) {
		role(t, "kit")
		got := make(chan T, len(values))
		g := kit(&core.Group{Workers: 1})
		m.HandleMaster(g, func(_ *core.Worker, v T) { got <- v })
		workers, _, _ := begin(t, g)
		for _, v := range values {
			if err := m.SendContext(context.Background(), workers[0], v); err != nil {
				t.Fatal(err)
			}
			if back := receive(t, got, "the value"); !reflect.DeepEqual(back, v) {
				t.Errorf("%#v came back as %#v", v, back)
			}
			if err := m.Broadcast(g, v); err != nil {
				t.Fatal(err)
			}
			if back := receive(t, got, "the value"); !reflect.DeepEqual(back, v) {
				t.Errorf("%#v came back from a broadcast as %#v", v, back)
			}
		}
	})
}

func TestValuesTravelByEachCodec(t *testing.T) {
	comesBack(t, asJSON, point{}, point{1, -2})
	comesBack(t, asGob, map[string]point{"a": {1, 2}, "b": {}})
	comesBack(t, asBinary, time.Date(2020, 2, 29, 12, 0, 0, 1, time.UTC))
	comesBack(t, asURL, url.URL{Scheme: "https", Host: "a.example", Path: "/b"})
	comesBack(t, asURLPtr, &url.URL{Scheme: "https", Host: "a.example"})
	comesBack(t, asRot, "", "hello")
}

func TestWhatCannotBeEncodedIsNotSent(t *testing.T) {
	role(t, "kit")
	g := kit(&core.Group{Workers: 1})
	workers, _, _ := begin(t, g)
	w := workers[0]
	for name, err := range map[string]error{
		"Send":        asRot.Send(w, "unspeakable"),
		"SendContext": asRot.SendContext(context.Background(), w, "unspeakable"),
		"Broadcast":   asRot.Broadcast(g, "unspeakable"),
	} {
		if !errors.Is(err, errUnspeakable) {
			t.Errorf("%s returned %v", name, err)
		}
	}
	if err := (core.Message[point]{Type: 20, Codec: core.Binary}).Send(w, point{}); err == nil || !strings.Contains(err.Error(), "point") {
		t.Errorf("a value that is no BinaryMarshaler: %v", err)
	}
	if err := (core.Message[chan int]{Type: 20}).Send(w, nil); err == nil {
		t.Error("a channel was encoded")
	}
	if n := w.Stats().MessagesOut; n != 0 {
		t.Errorf("%d messages were sent", n)
	}
}

func TestWhatCannotBeDecodedIsDroppedAndCounted(t *testing.T) {
	role(t, "kit")
	standardError(t) // where the worker logs it
	var log bytes.Buffer
	got := make(chan point, 1)
	g := kit(&core.Group{Workers: 1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	asJSON.HandleMaster(g, func(_ *core.Worker, v point) { got <- v })
	// The worker sends this back as it is, and the master expects something else.
	other := core.Message[point]{Type: echo}
	other.HandleMaster(g, func(*core.Worker, point) { t.Error("garbage was decoded") })
	workers, _, stop := begin(t, g)
	w := workers[0]
	for _, m := range []uint32{asJSON.Type, asGob.Type, asBinary.Type, asURLPtr.Type, sum.Type} {
		if err := w.Send(m, []byte("g\x01rb")); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Send(sum.Type, []byte{0, 0, 0, 0, 9, 9, 9, 9, 1}); err != nil { // of no kind
		t.Fatal(err)
	}
	if err := w.Send(echo, []byte("garbage")); err != nil {
		t.Fatal(err)
	}
	if err := asJSON.Send(w, point{3, 4}); err != nil {
		t.Fatal(err)
	}
	if v := receive(t, got, "what can be decoded"); v != (point{3, 4}) {
		t.Errorf("%v came", v)
	}
	stats, err := seen.Do(context.Background(), w, true)
	if err != nil || stats.Unhandled != 6 {
		t.Errorf("the worker counts %d such messages, want 6 (%v)", stats.Unhandled, err)
	}
	if n := w.Stats().Unhandled; n != 1 {
		t.Errorf("the master counts %d such messages, want 1", n)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "cannot be decoded") || !strings.Contains(log.String(), "type 1") {
		t.Errorf("the log is %s", &log)
	}
}
