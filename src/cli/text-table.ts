// oxlint-disable-next-line no-control-regex -- they are what must go
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/g;

/** Rows under their headings, aligned in columns, a line each. Every text is made `plainText`. */
export function textTable(
  headings: readonly string[],
  rows: readonly (readonly (string | undefined)[])[],
): string {
  const cells = [headings, ...rows.map((row) => headings.map((_, n) => plainText(row[n] || "-")))];
  const widths = headings.map((_, n) => Math.max(...cells.map((row) => Bun.stringWidth(row[n] ?? ""))));
  return cells.map((row) => line(row, widths)).join("");
}

/** Names and what they stand for, a line each; without those that stand for nothing. */
export function textFields(fields: Readonly<Record<string, string | undefined>>): string {
  const rows = Object.entries(fields).flatMap(([name, value]) => (value ? [[name, plainText(value)]] : []));
  const width = Math.max(0, ...rows.map(([name = ""]) => Bun.stringWidth(name)));
  return rows.map((row) => line(row, [width, 0])).join("");
}

/** `text` without what would steer a terminal: it was written by somebody else. */
export function plainText(text: string): string {
  return text.replaceAll(CONTROL, "�");
}

function line(cells: readonly string[], widths: readonly number[]): string {
  const padded = cells.map(
    (cell, n) => cell + " ".repeat(Math.max(0, (widths[n] ?? 0) - Bun.stringWidth(cell))),
  );
  return `${padded.join("  ").trimEnd()}\n`;
}
