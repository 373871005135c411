import { Problem } from "./api";
import type { Account, Api, Transaction } from "./api";
import { NotAnAmount, parse, show } from "./money";
import { element, make, nameOf, shortId } from "./page";
import type { Shown } from "./page";

type Kind = "transfer" | "deposit" | "withdrawal";

const paths: Record<Kind, string> = { transfer: "/v1/transfers", deposit: "/v1/deposits", withdrawal: "/v1/withdrawals" };

/** Where the form shows what is wrong with which part of a command. */
const fields: Record<string, string> = {
  from_account_id: "from",
  to_account_id: "to",
  amount: "amount",
  "amount/amount": "amount",
  "amount/currency": "amount",
  reference: "reference",
};

const elsewhere = "elsewhere"; // the choice of an account that is not in the list

/** PaymentForm moves money. */
export class PaymentForm {
  private readonly form = element<HTMLFormElement>("move");
  private readonly from = element<HTMLSelectElement>("from");
  private readonly to = element<HTMLSelectElement>("to");
  private readonly other = element<HTMLInputElement>("to-other");
  private readonly amount = element<HTMLInputElement>("amount");
  private readonly reference = element<HTMLInputElement>("reference");
  private readonly send = element<HTMLButtonElement>("send");
  private accounts: Account[] = [];
  /** The last command that may or may not have been done: sent again, it is the same one. */
  private unsure: { command: string; key: string } | undefined;

  constructor(
    private readonly api: Api,
    private readonly shown: Shown,
    private readonly failed: (e: unknown) => boolean,
    signal: AbortSignal,
  ) {
    const changed = () => this.adjust();
    this.form.addEventListener("change", changed, { signal });
    this.form.addEventListener("input", changed, { signal });
    this.form.addEventListener("submit", (e) => {
      e.preventDefault();
      void this.submit();
    }, { signal });
    this.adjust();
  }

  /** offer sets the accounts to choose from. What is chosen stays chosen. */
  offer(accounts: Account[]): void {
    this.accounts = accounts.filter((a) => a.type !== "internal");
    const label = (a: Account) => `${nameOf(a)} · ${a.currency} · ${shortId(a.id)}`;
    for (const select of [this.from, this.to]) {
      const chosen = select.value;
      const options = this.accounts.map((a) => new Option(label(a), a.id));
      if (select === this.to) options.push(new Option("Another account…", elsewhere));
      select.replaceChildren(...options);
      if (options.some((o) => o.value === chosen)) select.value = chosen;
      else if (select === this.to) select.selectedIndex = Math.min(1, options.length - 1);
    }
    this.adjust();
  }

  private get kind(): Kind {
    return (new FormData(this.form).get("kind") ?? "transfer") as Kind;
  }

  /** main is the account whose currency counts: the one debited, or for a deposit the one credited. */
  private main(): Account | undefined {
    const id = this.kind === "deposit" ? this.to.value : this.from.value;
    return this.accounts.find((a) => a.id === id);
  }

  private adjust(): void {
    const kind = this.kind;
    element("from-field").hidden = kind === "deposit";
    element("to-field").hidden = kind === "withdrawal";
    const away = this.to.value === elsewhere;
    this.other.hidden = !away;
    const label = document.querySelector<HTMLLabelElement>("label[for=to-other]");
    if (label) label.hidden = !away;
    const currency = this.main()?.currency ?? "";
    element("currency").textContent = currency;
    element("amount-help").textContent = this.preview(currency);
  }

  /** preview shows the amount as it was understood. */
  private preview(currency: string): string {
    if (!currency || this.amount.value.trim() === "") return "";
    const exponent = this.shown.exponent(currency);
    try {
      return `That is ${show({ amount: parse(this.amount.value, exponent), currency }, exponent)}.`;
    } catch {
      return "";
    }
  }

  /** command is the body to send. What is wrong with it is shown, and nothing is returned. */
  private command(): Record<string, unknown> | undefined {
    const kind = this.kind;
    const from = this.from.value;
    const to = this.to.value === elsewhere ? this.other.value.trim() : this.to.value;
    const currency = this.main()?.currency ?? this.accounts.find((a) => a.id === from)?.currency ?? "EUR";
    if (kind !== "deposit" && !from) return this.wrong("from", "Choose an account.");
    if (kind !== "withdrawal" && !to) return this.wrong("to", "Say which account.");
    let minor: string;
    try {
      minor = parse(this.amount.value, this.shown.exponent(currency));
    } catch (e) {
      if (e instanceof NotAnAmount) return this.wrong("amount", e.message);
      throw e;
    }
    const ends = { transfer: { from_account_id: from, to_account_id: to }, deposit: { account_id: to }, withdrawal: { account_id: from } };
    const reference = this.reference.value.trim();
    return { ...ends[kind], amount: { amount: minor, currency }, ...(reference ? { reference } : {}) };
  }

  private async submit(): Promise<void> {
    if (this.send.disabled) return;
    this.clear();
    const body = this.command();
    if (!body) return;
    const path = paths[this.kind];
    const command = path + JSON.stringify(body);
    const key = this.unsure?.command === command ? this.unsure.key : crypto.randomUUID();
    this.unsure = { command, key };
    this.send.disabled = true;
    this.form.setAttribute("aria-busy", "true");
    try {
      this.done((await this.api.post<Transaction>(path, body, key)).body);
      this.unsure = undefined;
    } catch (e) {
      if (e instanceof Problem && !e.retryable) this.unsure = undefined;
      this.refused(e);
    } finally {
      this.send.disabled = false;
      this.form.removeAttribute("aria-busy");
    }
  }

  private done(t: Transaction): void {
    const amount = this.shown.money(t.amount);
    const said = t.status === "pending_review" ? `${amount} waits for a review before it moves.` : `${amount} moved.`;
    const outcome = element("outcome");
    outcome.replaceChildren(make("strong", "", said), make("span", "id", ` ${t.id ?? ""}`));
    outcome.dataset["transaction"] = t.id ?? "";
    this.amount.value = "";
    this.reference.value = "";
    this.adjust();
  }

  private refused(e: unknown): void {
    if (this.failed(e)) return;
    const box = element("problem");
    if (!(e instanceof Problem)) {
      box.replaceChildren(
        make("strong", "", "It is not known whether the money moved."),
        make("span", "", " Press Send again: with the same details it moves only once."),
      );
      return;
    }
    const parts = e.parts.filter((p) => this.wrongPart(p.pointer, p.detail));
    const again = e.retryable ? " Press Send again: with the same details it moves only once." : "";
    box.replaceChildren(make("strong", "", `${e.title}.`), make("span", "", ` ${e.detail}${again}`));
    box.dataset["code"] = e.code;
    if (e.correlation) box.append(make("span", "id", ` ${e.correlation}`));
    if (parts.length > 0) this.form.querySelector<HTMLElement>("[aria-invalid]:not([hidden])")?.focus();
  }

  private wrongPart(pointer: string, detail: string): boolean {
    const name = pointer.replace(/^\//, "");
    const field = name === "account_id" ? (this.kind === "deposit" ? "to" : "from") : fields[name];
    if (field) this.mark(field, detail);
    return field !== undefined;
  }

  private wrong(field: string, why: string): undefined {
    this.mark(field, why);
    this.form.querySelector<HTMLElement>("[aria-invalid]:not([hidden])")?.focus();
    return undefined;
  }

  private mark(field: string, why: string): void {
    element(`${field}-error`).textContent = why;
    const input = field === "to" && !this.other.hidden ? this.other : element(field);
    input.setAttribute("aria-invalid", "true");
  }

  private clear(): void {
    for (const e of this.form.querySelectorAll(".error")) e.textContent = "";
    for (const e of this.form.querySelectorAll("[aria-invalid]")) e.removeAttribute("aria-invalid");
    for (const id of ["outcome", "problem"]) {
      element(id).replaceChildren();
      delete element(id).dataset["code"];
      delete element(id).dataset["transaction"];
    }
  }
}
