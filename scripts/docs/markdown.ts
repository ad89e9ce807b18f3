/** A heading, and the blank line after it. */
export function heading(level: number, text: string): string {
  return `${"#".repeat(level)} ${text}\n`;
}

/** A table whose cells are Markdown already, as `bun fmt` leaves it. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = [head, ...rows].map((row) => row.map((cell) => cell.replaceAll("|", "\\|")));
  const widths = head.map((_, column) =>
    Math.max(3, ...cells.map((row) => Bun.stringWidth(row[column] ?? ""))),
  );
  const line = (row: readonly string[], fill = " ") =>
    `| ${row.map((cell, n) => cell + fill.repeat((widths[n] ?? 0) - Bun.stringWidth(cell))).join(" | ")} |`;
  const rule = line(
    head.map(() => ""),
    "-",
  );
  const [first = [], ...others] = cells;
  return [line(first), rule, ...others.map((row) => line(row)), ""].join("\n");
}

/**
 * A plain text as Markdown: options are set as code, and nothing is taken for a tag or for emphasis. Between Chinese and
 * Latin characters comes a blank, which a terminal does without.
 */
export function prose(text: string): string {
  return text
    .replaceAll(/[<*_]/g, "\\$&")
    .replaceAll(/(?<![\w-])--[a-z][a-z-]*/g, "`$&`")
    .replaceAll(/(\p{Script=Han})(?=[\w`])|([\w`])(?=\p{Script=Han})/gu, "$& ");
}
