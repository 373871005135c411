package index

import (
	"cmp"
	"slices"
)

// table holds the newest records in memory, until they are frozen and written to a run.
type table struct {
	at    map[Hash]int32 // where in lists
	lists [][]entry      // ascending
	ones  []entry        // room for lists of one, which most are
	count int
	from  Place
	to    Mark
}

type entry struct{ version, value uint64 }

func (e entry) compare(other entry) int {
	return cmp.Or(cmp.Compare(e.version, other.version), cmp.Compare(e.value, other.value))
}

func newTable(from Mark, room int) *table {
	return &table{
		at: make(map[Hash]int32, room), lists: make([][]entry, 0, room), ones: make([]entry, 0, room),
		from: from.Place, to: from,
	}
}

func (t *table) add(r Record) {
	e := entry{r.Version, r.Value}
	t.count++
	at, known := t.at[r.Hash]
	if !known {
		if len(t.ones) == cap(t.ones) {
			t.ones = make([]entry, 0, 1024)
		}
		t.ones = append(t.ones, e)
		n := len(t.ones)
		t.at[r.Hash] = int32(len(t.lists))
		t.lists = append(t.lists, t.ones[n-1:n:n])
		return
	}
	list := t.lists[at]
	if last := list[len(list)-1]; e.compare(last) >= 0 {
		t.lists[at] = append(list, e)
		return
	}
	i, _ := slices.BinarySearchFunc(list, e, entry.compare)
	t.lists[at] = slices.Insert(slices.Clone(list), i, e) // somebody may be reading the old one
}

// list is what there is of h, ascending.
func (t *table) list(h Hash) []entry {
	at, known := t.at[h]
	if !known {
		return nil
	}
	return t.lists[at]
}

// sorted are all records in their order.
func (t *table) sorted() []Record {
	out := make([]Record, 0, t.count)
	for h, at := range t.at {
		for _, e := range t.lists[at] {
			out = append(out, Record{h, e.version, e.value})
		}
	}
	slices.SortFunc(out, Record.Compare)
	return out
}
