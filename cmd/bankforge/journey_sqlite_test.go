package main

import (
	"database/sql"
	"fmt"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite" // registers the driver
)

// openFile opens one of the bank's files as somebody would who is not the bank.
func openFile(ts *testscript.TestScript, name string) *sql.DB {
	db, err := sql.Open("sqlite", "file:"+ts.MkAbs(name)+"?mode=rw&_pragma=busy_timeout(10000)")
	ts.Check(err)
	return db
}

func sqliteCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "sqlite FILE STATEMENT")
	db := openFile(ts, args[0])
	defer db.Close()
	rows, err := db.Query(args[1])
	ts.Check(err)
	defer rows.Close()
	columns, err := rows.Columns()
	ts.Check(err)
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		ts.Check(rows.Scan(into...))
		fmt.Fprintln(ts.Stdout(), strings.TrimSpace(fmt.Sprintln(values...)))
	}
	ts.Check(rows.Err())
}

func flipCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 4, "flip FILE TABLE COLUMN WHERE")
	db := openFile(ts, args[0])
	defer db.Close()
	table, column, where := args[1], args[2], args[3]
	var value []byte
	ts.Check(db.QueryRow("SELECT " + column + " FROM " + table + " WHERE " + where).Scan(&value))
	value[len(value)/2] ^= 1
	_, err := db.Exec("UPDATE "+table+" SET "+column+" = ? WHERE "+where, value)
	ts.Check(err)
}
