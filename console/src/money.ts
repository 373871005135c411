// Money is a whole number of minor units as a string, as in the API. Nothing here passes through floating point.

export interface Money {
  readonly amount: string;
  readonly currency: string;
}

/** The most digits that a command's amount may have. */
const maxDigits = 18;

/** decimal writes minor units in major ones: ("-5", 2) is "-0.05". */
export function decimal(minor: string, exponent: number): string {
  const n = BigInt(minor);
  const sign = n < 0n ? "-" : "";
  const digits = (n < 0n ? -n : n).toString().padStart(exponent + 1, "0");
  if (exponent === 0) return sign + digits;
  return `${sign}${digits.slice(0, -exponent)}.${digits.slice(-exponent)}`;
}

/** show writes money as the reader's language does. Intl takes decimal strings exactly, and numbers not. */
export function show(money: Money, exponent: number, locale?: string): string {
  const format = new Intl.NumberFormat(locale, {
    style: "currency",
    currency: money.currency,
    minimumFractionDigits: exponent,
    maximumFractionDigits: exponent,
  });
  return format.format(decimal(money.amount, exponent) as Intl.StringNumericLiteral);
}

/** separator is the sign between major and minor units in the reader's language. */
export function separator(locale?: string): string {
  const parts = new Intl.NumberFormat(locale).formatToParts(1.5);
  return parts.find((p) => p.type === "decimal")?.value ?? ".";
}

/** Why a text is no amount, for people. */
export class NotAnAmount extends Error {}

/**
 * parse reads an amount in major units, as people write it: "12", "12.5", "1 234.50". The decimal sign may be a point
 * or the reader's own. Signs that group thousands are refused, except spaces: they could be taken for decimals.
 */
export function parse(text: string, exponent: number, locale?: string): string {
  const bare = text.replace(/[\s\u00a0\u202f]/g, "");
  if (bare === "") throw new NotAnAmount("Say how much.");
  const match = /^(\d+)(?:([.,٫])(\d+))?$/.exec(bare);
  const sign = match?.[2];
  if (!match || (sign !== undefined && sign !== "." && sign !== separator(locale))) {
    throw new NotAnAmount(`Write an amount like ${sample(exponent)}, without signs between thousands.`);
  }
  const fraction = match[3] ?? "";
  if (fraction.length > exponent) {
    throw new NotAnAmount(exponent === 0 ? "This currency has no smaller unit." : `Give at most ${exponent} decimal places.`);
  }
  const minor = BigInt(match[1] + fraction.padEnd(exponent, "0")).toString();
  if (minor === "0") throw new NotAnAmount("The amount must be more than zero.");
  if (minor.length > maxDigits) throw new NotAnAmount("This is more than the bank can move at once.");
  return minor;
}

function sample(exponent: number): string {
  return exponent === 0 ? "1250" : `12.${"5".padEnd(exponent, "0")}`;
}
