import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.mjs";

const { NotAnAmount, decimal, parse, show } = await load("money.ts");

test("minor units are written exactly, however many there are", () => {
  for (const [minor, exponent, want] of [
    ["0", 2, "0.00"], ["5", 2, "0.05"], ["-5", 2, "-0.05"], ["123456", 2, "1234.56"], ["7", 0, "7"], ["1234", 3, "1.234"],
    ["999999999999999999", 2, "9999999999999999.99"], ["-9223372036854775808", 4, "-922337203685477.5808"],
  ]) {
    assert.equal(decimal(minor, exponent), want);
  }
});

test("what is shown keeps every digit", () => {
  assert.equal(show({ amount: "999999999999999999", currency: "EUR" }, 2, "en-GB"), "€9,999,999,999,999,999.99");
  assert.equal(show({ amount: "-1", currency: "JPY" }, 0, "en-US"), "-¥1");
  assert.match(show({ amount: "1234", currency: "BHD" }, 3, "en-US"), /^BHD\s1\.234$/);
});

test("amounts are read as people write them", () => {
  for (const [text, exponent, locale, want] of [
    ["12", 2, "en", "1200"], ["12.5", 2, "en", "1250"], [" 1 234.50 ", 2, "en", "123450"], ["0.01", 2, "en", "1"],
    ["12,50", 2, "de", "1250"], ["12.50", 2, "de", "1250"], ["7", 0, "en", "7"], ["1.234", 3, "en", "1234"],
    ["9999999999999999.99", 2, "en", "999999999999999999"], ["007", 2, "en", "700"],
  ]) {
    assert.equal(parse(text, exponent, locale), want, text);
  }
});

test("what could be meant otherwise is refused", () => {
  for (const [text, exponent, locale] of [
    ["", 2, "en"], ["1,234", 2, "en"], ["1.234,50", 2, "de"], ["1.234", 2, "de"], ["1e3", 2, "en"], ["-5", 2, "en"], ["+5", 2, "en"],
    ["0", 2, "en"], ["0.00", 2, "en"], ["1.5", 0, "en"], ["1.", 2, "en"], [".5", 2, "en"], ["12 EUR", 2, "en"], ["NaN", 2, "en"],
    ["10000000000000000.00", 2, "en"], ["0x10", 2, "en"],
  ]) {
    assert.throws(() => parse(text, exponent, locale), { constructor: NotAnAmount }, text);
  }
});
