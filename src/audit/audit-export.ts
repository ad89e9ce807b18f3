import type { AuditRecord } from "./audit-entry.ts";

/** How many entries are in memory at once. */
const PIECE = 500;

/**
 * Entries as NDJSON, the oldest first, a piece at a time as the reader takes them.
 *
 * `piece` gives the entries behind an id, at most so many. A failure breaks the stream off, so that the reader knows that
 * something is missing.
 */
export function exportLines(
  piece: (after: number, limit: number) => Promise<readonly AuditRecord[]>,
  toData: (record: AuditRecord) => object,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let after = -1;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const records = await piece(after, PIECE);
      const lines = records.map((record) => `${JSON.stringify(toData(record))}\n`);
      if (lines.length > 0) controller.enqueue(encoder.encode(lines.join("")));
      after = records.at(-1)?.id ?? after;
      if (records.length < PIECE) controller.close();
    },
  });
}
