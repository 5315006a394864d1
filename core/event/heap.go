package event

// A node is the place of one deadline in a heap. It is embedded in what has the deadline, so that a deadline can be
// moved and removed in O(log n) without a search.
type node struct {
	index int // position in the heap plus one; 0 when not in it
	key   int // for the owner: which timer, which descriptor
}

func (n *node) queued() bool { return n.index != 0 }

type entry struct {
	when int64  // nanoseconds on the loop's clock
	seq  uint64 // equal deadlines pass in the order in which they were set
	node *node
}

func (a entry) before(b entry) bool {
	return a.when < b.when || a.when == b.when && a.seq < b.seq
}

// branches is how many children an entry has: with four the heap is half as deep as with two, and so many fewer nodes, which lie
// scattered, learn of a new position. Siblings, which lie side by side, cost little to compare.
const branches = 4

// A heap orders deadlines, the earliest first.
type heap struct {
	entries []entry
	seq     uint64
}

func (h *heap) empty() bool { return len(h.entries) == 0 }

// first returns the earliest deadline; the heap must not be empty.
func (h *heap) first() (when int64, n *node) {
	return h.entries[0].when, h.entries[0].node
}

// set gives n the deadline when, in place of one that it had.
func (h *heap) set(n *node, when int64) {
	h.seq++
	e := entry{when, h.seq, n}
	if !n.queued() {
		h.entries = append(h.entries, e)
		n.index = len(h.entries)
		h.up(n.index - 1)
		return
	}
	i := n.index - 1
	h.entries[i] = e
	h.down(h.up(i))
}

// remove takes n out; a node that is not queued is left alone.
func (h *heap) remove(n *node) {
	if !n.queued() {
		return
	}
	i, last := n.index-1, len(h.entries)-1
	n.index = 0
	moved := h.entries[last]
	h.entries[last] = entry{}
	h.entries = h.entries[:last]
	if i == last {
		return
	}
	h.place(i, moved)
	h.down(h.up(i))
}

func (h *heap) place(i int, e entry) {
	h.entries[i] = e
	e.node.index = i + 1
}

func (h *heap) up(i int) int {
	e := h.entries[i]
	for i > 0 {
		parent := (i - 1) / branches
		if !e.before(h.entries[parent]) {
			break
		}
		h.place(i, h.entries[parent])
		i = parent
	}
	h.place(i, e)
	return i
}

func (h *heap) down(i int) {
	e := h.entries[i]
	for {
		first := branches*i + 1
		if first >= len(h.entries) {
			break
		}
		child := first
		for other := first + 1; other < min(first+branches, len(h.entries)); other++ {
			if h.entries[other].before(h.entries[child]) {
				child = other
			}
		}
		if !h.entries[child].before(e) {
			break
		}
		h.place(i, h.entries[child])
		i = child
	}
	h.place(i, e)
}
