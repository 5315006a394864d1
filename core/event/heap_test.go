package event

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

// check verifies that the heap is one and that every node knows its place.
func (h *heap) check(t *testing.T) {
	t.Helper()
	for i, e := range h.entries {
		if e.node.index != i+1 {
			t.Fatalf("the node at position %d believes that it is at %d", i, e.node.index-1)
		}
		if parent := (i - 1) / branches; i > 0 && e.before(h.entries[parent]) {
			t.Fatalf("the entry at %d is earlier than its parent at %d", i, parent)
		}
	}
	for _, e := range h.entries[len(h.entries):cap(h.entries)] {
		if e.node != nil {
			t.Fatal("memory beyond the end keeps a removed node alive")
		}
	}
}

// Whatever is set, moved and removed, deadlines come out as a stable sort of what is left has them.
func TestHeapAgreesWithSort(t *testing.T) {
	limit(t)
	random := newRandom(t)
	for range 200 {
		type deadline struct {
			when  int64
			order int
			node  *node
		}
		var (
			h     heap
			nodes = make([]node, 1+random.IntN(60))
			model = map[*node]deadline{}
			span  = 1 + random.Int64N(40) // a narrow span makes equal deadlines
		)
		for order := range random.IntN(400) {
			n := &nodes[random.IntN(len(nodes))]
			switch random.IntN(5) {
			case 0, 1, 2:
				d := deadline{random.Int64N(span), order, n}
				h.set(n, d.when)
				model[n] = d
			case 3:
				h.remove(n)
				delete(model, n)
			default:
				if !h.empty() {
					_, first := h.first()
					h.remove(first)
					delete(model, first)
				}
			}
			if _, queued := model[n]; queued != n.queued() {
				t.Fatalf("queued is %t, want %t", n.queued(), queued)
			}
			h.check(t)
		}
		want := make([]deadline, 0, len(model))
		for _, d := range model {
			want = append(want, d)
		}
		slices.SortFunc(want, func(a, b deadline) int {
			return cmp.Or(cmp.Compare(a.when, b.when), cmp.Compare(a.order, b.order))
		})
		for i, d := range want {
			if h.empty() {
				t.Fatalf("empty after %d of %d deadlines", i, len(want))
			}
			when, n := h.first()
			if when != d.when || n != d.node {
				t.Fatalf("deadline %d of %d is %d, want %d (or another one with the same time)", i, len(want), when, d.when)
			}
			h.remove(n)
			h.check(t)
		}
		if !h.empty() {
			t.Fatal("something is left over")
		}
	}
}

func TestHeapLeavesForeignNodesAlone(t *testing.T) {
	limit(t)
	var h heap
	var in, out node
	h.set(&in, 5)
	h.remove(&out)
	if when, n := h.first(); when != 5 || n != &in {
		t.Errorf("first is %d, %p; want 5, %p", when, n, &in)
	}
	h.remove(&in)
	h.remove(&in)
	if !h.empty() {
		t.Error("not empty")
	}
}

func BenchmarkHeapMove(b *testing.B) {
	var h heap
	nodes := make([]node, 1<<14)
	random := rand.New(rand.NewPCG(1, 1))
	for i := range nodes {
		h.set(&nodes[i], random.Int64())
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		h.set(&nodes[i&(len(nodes)-1)], random.Int64())
	}
}
