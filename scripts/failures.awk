# Reads what `go test -v` printed, and prints of each failed test what it said by t.Error and its like, and of each
# data race, panic and package that does not compile the beginning. Parallel tests take turns in such a log; lines
# without a test's indentation are of whoever wrote them, and left out. Each has at most `most` lines, tests their last.

function forget() { split("", lines); split("", count); test = "" }

function keep(line) { lines[test, count[test]++ % most] = line }

function show(name, verdict,    i, n) {
    print verdict
    n = count[name]
    if (n > most) print "        … " n - most " lines before"
    for (i = n > most ? n - most : 0; i < n; i++) print lines[name, i % most]
    delete count[name]
}

BEGIN { if (!most) most = 40 }

/^=== (RUN|CONT|NAME) / { test = $3; block = 0; next }
/^=== PAUSE / { next }
/^ *--- (PASS|SKIP): / { delete count[$3]; next }
/^ *--- FAIL: / { show($3, $0); next }
/^(ok|FAIL)[ \t]+[^ \t]+/ { if ($1 == "FAIL") print; forget(); block = 0; next }

# The lines of a race, of a panic, of a package that does not compile.
/^WARNING: DATA RACE/ || /^(panic|fatal error): / || /^# [^ ]+( \[|$)/ { block = most }
/^==================$/ { block = 0 }
block > 0 { print; block--; next }

/^    / && test { keep($0) }
