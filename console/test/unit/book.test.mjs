import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.mjs";

const { Book, maxEntries } = await load("book.ts");

const eur = (amount) => ({ amount: String(amount), currency: "EUR" });

function account(version, balance) {
  return {
    id: "acc_1", customer_id: null, currency: "EUR", type: "current", label: null, status: "active", version,
    balance: eur(balance), held: eur(0), available: eur(balance), stream: { epoch: "e", offset: version },
  };
}

function change(version, balance, entry = { transaction_id: `txn_${version}`, direction: "credit", amount: eur(1) }) {
  return {
    schema: "bankforge.live.account/1", type: "account.credited", version, occurred_at: "2026-03-01T12:00:00.000000Z", correlation_id: "c",
    data: { status: "active", balance: eur(balance), held: eur(0), available: eur(balance), entry },
  };
}

test("a balance never goes back in time", () => {
  const book = new Book();
  assert.ok(book.put(account(5, 500)));
  assert.ok(book.apply("acc_1", change(6, 600)));
  assert.ok(!book.apply("acc_1", change(6, 600)), "the same version again");
  assert.ok(!book.apply("acc_1", change(4, 400)), "a late one");
  assert.ok(!book.put(account(5, 500)), "an old answer");
  assert.equal(book.account("acc_1").balance.amount, "600");
  assert.ok(book.put(account(2, 200), true), "another incarnation of the ledger");
  assert.equal(book.account("acc_1").version, 2);
  assert.ok(!book.apply("acc_unknown", change(1, 1)));
});

test("each entry is there once, the newest first, and a query knows more than the stream", () => {
  const book = new Book();
  book.put(account(1, 0));
  for (let v = 2; v <= maxEntries + 10; v++) book.apply("acc_1", change(v, v));
  book.apply("acc_1", change(maxEntries + 11, 1, null));
  const entry = { version: 20, transaction_id: "txn_20", direction: "credit", amount: eur(1), balance_after: eur(20), posted_at: "", kind: "transfer" };
  book.add("acc_1", [entry]);
  book.add("acc_1", [{ ...entry, kind: undefined }]);
  const versions = book.entriesOf("acc_1").map((e) => e.version);
  assert.equal(versions.length, maxEntries);
  assert.deepEqual(versions, [...versions].sort((a, b) => b - a));
  assert.equal(versions[0], maxEntries + 10, "a change without an entry makes none");
  assert.equal(book.entriesOf("acc_1").find((e) => e.version === 20).kind, "transfer");
});
