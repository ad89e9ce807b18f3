import type { Statement } from "../sql.ts";

/**
 * The text of a statement as PostgreSQL takes it, made of one of Drizzle's for SQLite or of one by hand for both.
 *
 * `?` becomes `$1` and so on; the columns of a conflict target lose their table's name; and where SQLite counts up by
 * itself for a null, PostgreSQL is asked for the default. `first` is how many parameters stand before its own.
 */
export function postgresText(text: string, first = 0): string {
  let position = first;
  // What stands in quotes stays as it is.
  const numbered = text.replaceAll(/'(?:[^']|'')*'|"[^"]*"|\?/g, (part) =>
    part === "?" ? `$${++position}` : part,
  );
  const targeted = numbered.replaceAll(/(on conflict \()([^)]*)\)/g, (_, start: string, columns: string) => {
    return `${start}${columns.replaceAll(/"\w+"\.("\w+")/g, "$1")})`;
  });
  return /^insert into "\w+" \("id", /.test(targeted)
    ? targeted.replaceAll("(null, ", "(default, ")
    : targeted;
}

/** One statement that does what `statements` do, of which none looks at what another writes. */
export function togetherText(statements: readonly Statement[]): string {
  let before = 0;
  const texts = statements.map(({ text, parameters }) => {
    const numbered = postgresText(text, before);
    before += parameters.length;
    return numbered;
  });
  return `WITH ${texts.map((text, n) => `w${n} AS (${text})`).join(", ")} SELECT`;
}
