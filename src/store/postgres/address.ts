import { readFileSync } from "node:fs";
import { Secret } from "../../secret.ts";
import type { PostgresAddress } from "./postgres-engine.ts";

/** Where passwords are kept beside the URL: one alone, or many in the format of libpq. */
export interface PasswordFiles {
  /** Wins over the URL's own. */
  readonly passwordFile: string | undefined;
  /** Asked where neither has one. */
  readonly passFile: string | undefined;
}

/** The address in `url`, a URL that can be parsed; its password is kept apart. TLS is used where the server has it, unless `sslmode` says otherwise. */
export function postgresAddress(url: string, files: PasswordFiles): PostgresAddress {
  const parsed = new URL(url);
  const inUrl = parsed.password === "" ? undefined : new Secret(decodeURIComponent(parsed.password));
  parsed.password = "";
  const { searchParams } = parsed;
  if (!["sslmode", "ssl", "tls"].some((name) => searchParams.has(name)))
    searchParams.set("sslmode", "prefer");
  const { passwordFile, passFile } = files;
  const password = () => {
    if (passwordFile !== undefined) return readFileSync(passwordFile, "utf8").replace(/\r?\n$/, "");
    if (inUrl) return inUrl.reveal();
    return passFile === undefined ? "" : (passwordIn(readFileSync(passFile, "utf8"), parsed) ?? "");
  };
  return { url: parsed.href, password };
}

/** Where a server is, for a message: without who connects to it. */
export function placeOf({ url }: PostgresAddress): string {
  const { hostname, port, pathname } = new URL(url);
  return `postgres://${hostname}${port ? `:${port}` : ""}${pathname}`;
}

/** The password of the first line of a file of libpq that fits: `host:port:database:user:password`, `*` for any. */
function passwordIn(text: string, { hostname, port, pathname, username }: URL): string | undefined {
  const user = decodeURIComponent(username);
  const wanted = [hostname, port || "5432", decodeURIComponent(pathname.slice(1)) || user, user];
  for (const line of text.split(/\r?\n/)) {
    if (line.startsWith("#")) continue;
    // A colon or backslash in a field has a backslash before it.
    const fields = [...line.matchAll(/((?:\\.|[^:\\])*)(?::|$)/g)].map(([, field = ""]) =>
      field.replaceAll(/\\(.)/g, "$1"),
    );
    const isIt = wanted.every((value, index) => fields[index] === "*" || fields[index] === value);
    if (isIt && fields.length > wanted.length) return fields[wanted.length];
  }
  return undefined;
}
