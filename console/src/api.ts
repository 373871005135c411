import type { Money } from "./money";

/** What the page reads of an account. */
export interface Account {
  id: string;
  customer_id: string | null;
  currency: string;
  type: string;
  label: string | null;
  status: string;
  version: number;
  balance: Money;
  held: Money;
  available: Money;
  stream: { epoch: string; offset: number };
}

/** What the page reads of an entry. */
export interface Entry {
  version: number;
  transaction_id: string;
  direction: "debit" | "credit";
  amount: Money;
  balance_after: Money;
  posted_at: string;
  kind?: string;
  reference?: string | null;
}

/** What the page reads of a transaction. */
export interface Transaction {
  id: string | null;
  kind: string;
  status: string;
  amount: Money;
}

export interface Currency {
  code: string;
  exponent: number;
}

export interface Page<T> {
  data: T[];
  next_cursor?: string | null;
}

/** Problem is an answer that is an error (RFC 9457). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    readonly code: string,
    readonly retryable: boolean,
    readonly correlation: string,
    readonly parts: { pointer: string; detail: string }[],
  ) {
    super(`${status} ${code}: ${detail}`);
  }
}

/** Unreachable means that no answer came: it is not known what became of the request. */
export class Unreachable extends Error {}

/** Read is an answer, and whether the server says that it is behind. */
export interface Read<T> {
  body: T;
  stale: boolean;
}

const patience = 20_000; // milliseconds for one answer

/** Api asks the bank. */
export class Api {
  constructor(private readonly token: string) {}

  async get<T>(path: string): Promise<Read<T>> {
    return this.ask<T>("GET", path, {});
  }

  /** post sends a command. The same key makes the same command, however often it is sent. */
  async post<T>(path: string, body: unknown, key: string): Promise<Read<T>> {
    return this.ask<T>("POST", path, { "Content-Type": "application/json", "Idempotency-Key": key }, JSON.stringify(body));
  }

  private async ask<T>(method: string, path: string, headers: Record<string, string>, body?: string): Promise<Read<T>> {
    let answer: Response;
    let text: string;
    try {
      answer = await fetch(path, {
        method,
        headers: { ...headers, Accept: "application/json", Authorization: `Bearer ${this.token}` },
        ...(body === undefined ? {} : { body }),
        signal: AbortSignal.timeout(patience),
      });
      text = await answer.text();
    } catch {
      throw new Unreachable("The bank cannot be reached.");
    }
    if (!answer.ok) throw problem(answer, text);
    return { body: JSON.parse(text) as T, stale: answer.headers.get("Bankforge-Stale") === "true" };
  }
}

function problem(answer: Response, text: string): Problem {
  let said: Record<string, unknown> = {};
  try {
    said = JSON.parse(text) as Record<string, unknown>;
  } catch {
    // something between the page and the bank has answered: what it wrote is not for people
  }
  const word = (name: string, otherwise: string) => (typeof said[name] === "string" ? (said[name] as string) : otherwise);
  return new Problem(
    answer.status,
    word("title", "The bank has refused this"),
    word("detail", `The answer was ${answer.status}.`),
    word("code", `http_${answer.status}`),
    said["retryable"] === true || (answer.status >= 500 && said["retryable"] === undefined),
    word("correlation_id", answer.headers.get("X-Correlation-Id") ?? ""),
    Array.isArray(said["errors"]) ? (said["errors"] as { pointer: string; detail: string }[]) : [],
  );
}
