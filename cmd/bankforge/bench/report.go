package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is everything that a run of the suite has found.
type Report struct {
	At        time.Time `json:"at"`
	Took      string    `json:"took"`
	Profile   string    `json:"profile,omitempty"`
	Short     bool      `json:"short"` // too short to judge times
	Lines     []string  `json:"lines"` // that were asked for
	Repeats   int       `json:"runs"`
	Good      bool      `json:"good"` // no target was missed
	Machine   *Machine  `json:"machine"`
	Yardstick Yardstick `json:"yardstick"` // sizes of the replies
	Rows      []Row     `json:"rows"`
	Runs      []Run     `json:"raw"`
}

// ReadReport reads what Save has written.
func ReadReport(path string) (*Report, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var r Report
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &r, nil
}

// Save writes the report as JSON.
func (r *Report) Save(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o600)
}

// Print writes the report in one of the formats: table, json, markdown.
func (r *Report) Print(out io.Writer, format string) error {
	switch format {
	case "json":
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(r)
	case "markdown":
		return r.markdown(out)
	default:
		return r.table(out)
	}
}

var columns = []string{"line", "figure", "measured", "target", "dream", "of target", "verdict", "note"}

// cells are a row as it is shown.
func (r *Row) cells() []string {
	sign, measured, dream := "≥ ", "–", ""
	if r.AtMost {
		sign = "≤ "
	}
	if r.Measured != nil {
		measured = show(*r.Measured, r.Unit)
	}
	if r.Dream != 0 {
		dream = show(r.Dream, "")
	}
	want := sign + show(r.Target, "")
	if r.Verdict == Noted {
		want = ""
	}
	note, _, _ := strings.Cut(r.Note, "\n")
	return []string{r.Line, r.What, measured, want, dream, r.share(), string(r.Verdict), note}
}

func (r *Report) table(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if _, err := fmt.Fprintln(w, strings.Join(columns, "\t")); err != nil {
		return err
	}
	for i := range r.Rows {
		if _, err := fmt.Fprintln(w, strings.Join(r.Rows[i].cells(), "\t")); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\n%s\n%s\n", r.facts(), r.sum())
	return err
}

func (r *Report) markdown(out io.Writer) error {
	rule := strings.Repeat("|---", len(columns)) + "|"
	if _, err := fmt.Fprintf(out, "| %s |\n%s\n", strings.Join(columns, " | "), rule); err != nil {
		return err
	}
	for i := range r.Rows {
		line := "| " + strings.Join(r.Rows[i].cells(), " | ") + " |"
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(out, "\n%s %s\n", r.facts(), r.sum())
	return err
}

// facts say what the figures were measured on.
func (r *Report) facts() string {
	m := r.Machine
	if m == nil {
		return ""
	}
	return fmt.Sprintf("%s, %d cores of %s, %d MiB, Linux %s, %s, %s, fsync p50 %.2f ms p99 %.2f ms, load before %s, "+
		"after %s, revision %s.", r.At.UTC().Format(time.DateTime), m.Cores, m.CPU, m.MemoryMiB, m.Kernel, m.FileSystem,
		m.Go, m.FsyncP50, m.FsyncP99, m.LoadBefore, m.LoadAfter, m.Revision)
}

// sum is the last word.
func (r *Report) sum() string {
	missed := 0
	for i := range r.Rows {
		if !r.Rows[i].good() {
			missed++
		}
	}
	how := ""
	if r.Short {
		how = ", in the short form, which does not judge times"
	}
	return fmt.Sprintf("%d figures%s, %d missed; it took %s.", len(r.Rows), how, missed, r.Took)
}

// judged sums up: every line that was asked for has given a row for each of its targets, and all are good.
func (r *Report) judged() bool {
	rows := map[string]int{}
	good := len(r.Lines) > 0
	for i := range r.Rows {
		rows[r.Rows[i].Line+"."+r.Rows[i].Name]++
		good = good && r.Rows[i].good()
	}
	for _, line := range r.Lines {
		some := false
		for i := range targets {
			if t := &targets[i]; t.line == line {
				some = true
				good = good && rows[t.line+"."+t.name] == 1
			}
		}
		good = good && some
	}
	return good
}
