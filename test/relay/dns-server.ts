/** Answers of a name server that knows one host. */
import { getU16, setU16 } from "../../relay/nat/words.ts";

const RECORDS: Record<string, Uint8Array> = {
  "www.example.test 1": Uint8Array.of(192, 0, 2, 80),
  "www.example.test 28": Uint8Array.of(0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80),
  "www.example.test 16": Buffer.from("\x0bhello world"),
  "80.2.0.192.in-addr.arpa 12": Buffer.from("\x03www\x07example\x04test\x00"),
  "big.example.test 16": Buffer.concat(
    Array.from({ length: 12 }, (_, i) => Buffer.from(`\xff${`${i % 10}`.repeat(255)}`, "latin1")),
  ),
};

/** From now on the name has this address. */
export function setAddress(name: string, address: readonly number[]): void {
  RECORDS[`${name} 1`] = Uint8Array.from(address);
}

/** The query's name and type, as a key of RECORDS. */
export function questionOf(query: Uint8Array): { key: string; end: number } {
  let at = 12;
  const labels: string[] = [];
  while (query[at]) {
    const length = query[at] as number;
    labels.push(Buffer.from(query.subarray(at + 1, at + 1 + length)).toString());
    at += 1 + length;
  }
  return { key: `${labels.join(".")} ${getU16(query, at + 1)}`, end: at + 5 };
}

/** @param limit an answer that is larger is truncated */
export function answerTest(query: Uint8Array, limit = 65535): Uint8Array {
  const { key, end } = questionOf(query);
  const data = RECORDS[key];
  const head = new Uint8Array(query.subarray(0, end));
  const isTruncated = data !== undefined && end + 12 + data.length > limit;
  // A name that has an address only has no other records, which is no error (RFC 8020).
  const name = key.split(" ")[0] as string;
  const isKnown = Object.keys(RECORDS).some((other) => other.startsWith(`${name} `));
  setU16(head, 2, 0x8180 | (isKnown ? 0 : 3) | (isTruncated ? 0x0200 : 0));
  setU16(head, 4, 1);
  setU16(head, 6, data && !isTruncated ? 1 : 0);
  setU16(head, 8, 0);
  setU16(head, 10, 0);
  if (!data || isTruncated) return head;
  const record = new Uint8Array(12 + data.length);
  // The name is that of the question.
  setU16(record, 0, 0xc00c);
  record.set(query.subarray(end - 4, end), 2);
  setU16(record, 8, 60);
  setU16(record, 10, data.length);
  record.set(data, 12);
  return Buffer.concat([head, record]);
}

export function makeQuery(name: string, type: number, id = 0x1234): Uint8Array {
  const labels = name.split(".").map((label) => Buffer.concat([Buffer.of(label.length), Buffer.from(label)]));
  return Buffer.concat([
    Buffer.of(id >>> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0),
    ...labels,
    Buffer.of(0, type >>> 8, type & 255, 0, 1),
  ]);
}
