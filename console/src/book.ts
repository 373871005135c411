import type { Account, Entry } from "./api";
import type { Change } from "./live";

/** How many entries of an account the page shows. */
export const maxEntries = 50;

/**
 * Book is what the page knows: accounts at their newest version, and entries of accounts, each version once.
 * Whatever comes late changes nothing, so a balance never goes back in time.
 */
export class Book {
  private readonly accounts = new Map<string, Account>();
  private readonly entries = new Map<string, Map<number, Entry>>();

  /** put takes an account as a query has answered it, and reports whether it is news. Anew: even if it is older. */
  put(account: Account, anew = false): boolean {
    const known = this.accounts.get(account.id);
    if (known && known.version >= account.version && !anew) return false;
    this.accounts.set(account.id, account);
    return true;
  }

  /** apply takes a live change, and reports whether it is news. */
  apply(id: string, change: Change): boolean {
    const known = this.accounts.get(id);
    if (!known || change.version <= known.version) return false;
    const { status, balance, held, available, entry } = change.data;
    this.accounts.set(id, { ...known, version: change.version, status, balance, held, available });
    if (entry) {
      this.add(id, [{ ...entry, version: change.version, balance_after: balance, posted_at: change.occurred_at }]);
    }
    return true;
  }

  /** add takes entries. What a query says of one replaces what was heard live: it knows more. */
  add(id: string, entries: Entry[]): void {
    const all = this.entries.get(id) ?? new Map<number, Entry>();
    for (const e of entries) {
      if (e.kind !== undefined || !all.has(e.version)) all.set(e.version, e);
    }
    const newest = [...all.values()].sort((a, b) => b.version - a.version).slice(0, maxEntries);
    this.entries.set(id, new Map(newest.map((e) => [e.version, e])));
  }

  account(id: string): Account | undefined {
    return this.accounts.get(id);
  }

  all(): Account[] {
    return [...this.accounts.values()];
  }

  /** entriesOf are the newest entries of an account, newest first. */
  entriesOf(id: string): Entry[] {
    return [...(this.entries.get(id)?.values() ?? [])];
  }
}
