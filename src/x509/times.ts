/**
 * The times of certificates (RFC 5280 4.1.2.5): UTCTime from 1950 to 2049, GeneralizedTime otherwise, both to the second
 * and in Zulu.
 * @module
 */
import { fromUtf8, type Reader, utf8 } from "../codec/bytes.ts";
import { der, readTlv } from "../codec/der.ts";
import { X509Error } from "./errors.ts";

const UTC_TIME = 0x17;
const GENERALIZED_TIME = 0x18;

/** Encodes a time; parts of a second are cut off. @throws X509Error for a year before 0 or after 9999, or no date */
export function encodeTime(date: Date): Uint8Array {
  const year = date.getUTCFullYear();
  if (!(year >= 0 && year <= 9999)) throw new X509Error("a certificate's times are in the years 0 to 9999");
  const digits = `${date.toISOString().slice(0, 19).replaceAll(/[-T:]/g, "")}Z`;
  return year >= 1950 && year < 2050 ? der(UTC_TIME, utf8(digits.slice(2))) : der(GENERALIZED_TIME, utf8(digits));
}

export function readTime(r: Reader): Date {
  const at = r.offset;
  const { tag, value } = readTlv(r, "time");
  const text = fromUtf8(value.take(value.left));
  const match = /^(\d{2,4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/.exec(text);
  const digits = tag === UTC_TIME ? 13 : tag === GENERALIZED_TIME ? 15 : 0;
  if (match === null || text.length !== digits) r.fail(`time ${JSON.stringify(text)}`, at);
  const [year, month, day, hour, minute, second] = match.slice(1).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const whole = tag === UTC_TIME ? (year < 50 ? 2000 + year : 1900 + year) : year;
  return new Date(Date.UTC(whole, month - 1, day, hour, minute, second));
}
