package bank

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Whatever happens to a bank, Check and Audit find nothing wrong with any event: money is conserved, nobody is
// overdrawn, versions are dense, what is held is what holds say. And deciding is deterministic and leaves no
// trace, rolling back is exact, and replaying and restoring give the same state.
func TestLives(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		if _, _, err := live(lives().Draw(t, "life"), (*State).Evolve); err != nil {
			t.Fatal(err)
		}
	})
}

// The lives of TestLives come by everything that can happen, else they would prove little.
func TestLivesReachEverything(t *testing.T) {
	t.Parallel()
	const everyCode = 19 // that of accepting included
	codes, types := make(map[Code]int), make(map[EventType]int)
	for seed := range 400 {
		l, refusals, err := live(lives().Example(seed), (*State).Evolve)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range refusals {
			codes[c]++
		}
		for _, e := range l.log {
			types[e.Type]++
		}
		if len(codes) == everyCode && len(types) == int(OperatorActed) {
			return
		}
	}
	t.Errorf("not everything: only %v, and events of types %v",
		slices.Sorted(maps.Keys(codes)), slices.Sorted(maps.Keys(types)))
}

// Broken ways to evolve, each of which TestLives would find.
func TestLivesFindBrokenEvolving(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]func(*State, Event){
		"forgets a leg": func(s *State, e Event) {
			e.Legs = e.Legs[:min(1, len(e.Legs))]
			s.Evolve(e)
		},
		"forgets the hold": func(s *State, e Event) {
			e.Hold = nil
			s.Evolve(e)
		},
		"forgets the transactions": func(s *State, e Event) {
			e.Transactions = nil
			s.Evolve(e)
		},
		"forgets the details": func(s *State, e Event) {
			e.Details = nil
			s.Evolve(e)
		},
		"keeps the old status": func(s *State, e Event) {
			e.Legs = slices.Clone(e.Legs)
			for i := range e.Legs {
				e.Legs[i].After.Status = Active
			}
			s.Evolve(e)
		},
		"forgets how to undo accounts": func(s *State, e Event) {
			s.Evolve(e)
			s.before = nil
		},
		"forgets how to undo holds": func(s *State, e Event) {
			s.Evolve(e)
			s.holds.before = nil
		},
		"leaves acts out": func(s *State, e Event) {
			if e.Act == nil {
				s.Evolve(e)
			}
		},
		"loses deadlines": func(s *State, e Event) {
			s.Evolve(e)
			s.due = newDeadlines()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range 200 {
				if found(lives().Example(seed), broken) != nil {
					return
				}
			}
			t.Error("nothing was found")
		})
	}
}

// found is what live finds, a panic included: of a broken state nothing can be expected.
func found(steps []step, evolve func(*State, Event)) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	_, _, err = live(steps, evolve)
	return err
}
