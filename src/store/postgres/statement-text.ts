/**
 * The text of a statement as PostgreSQL takes it, made of one of Drizzle's for SQLite or of one by hand for both.
 *
 * `?` becomes `$1` and so on; the columns of a conflict target lose their table's name; and where SQLite counts up by
 * itself for a null, PostgreSQL is asked for the default.
 */
export function postgresText(text: string): string {
  let position = 0;
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
