import { readFileSync } from "node:fs";
import { parseEnv } from "node:util";
import { ServiceError } from "./errors.ts";

/** The variables of an env file, and what the operator should know of it. */
export interface EnvFile {
  readonly variables: Record<string, string | undefined>;
  readonly warnings: readonly string[];
  /** On which line a variable is set, the first being 1. */
  readonly lineOf: (name: string) => number | undefined;
}

/** What is a variable of ours. */
export interface KnownNames {
  readonly isKnown: (name: string) => boolean;
  /** Names to suggest for a misspelt one; what varies in them is in angle brackets. */
  readonly suggestions: readonly string[];
}

/** A name that nobody else would have. */
const OURS = /^(weixin|wecom|trusted|upstream|anonymous|master_key)|secret|appid|corpid/i;
const ASSIGNMENT = /^\s*(?:export\s+)?([\w.-]+)\s*=\s*(["'`]?)/;
/** Names are quoted where they can be names: a line of base64 ends with `=`, too. */
const PLAIN_NAME = /^[A-Za-z_]\w{0,39}$/;
const MAX_EDITS = 2;

/**
 * Reads the env file at `path`, by default `.env` in the working directory, which may be missing.
 *
 * A line that is no assignment, a name with two values, and an unknown name that is meant for us stop the start: what is
 * passed over in silence leaves the service open or without its apps. Other unknown names are one warning. No value is
 * ever quoted.
 *
 * @throws {ServiceError} `invalid_config` with file and line.
 */
export function readEnvFile(path: string | undefined, known: KnownNames): EnvFile {
  const file = path ?? ".env";
  const text = readText(path);
  const lines = text.split(/\r\n|\n|\r/);
  const seen = new Map<string, { readonly at: number; readonly end: number }>();
  const foreign: string[] = [];
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at] ?? "";
    if (/^\s*(#|$)/.test(line)) continue;
    const [head = "", name = "", quote = ""] = ASSIGNMENT.exec(line) ?? [];
    if (head === "") throw noAssignment(line, `${file}:${at + 1}`, known);
    const end = quote === "" ? at : lastLine(lines, at, line.slice(head.length), quote);
    if (
      end > at &&
      lines.slice(at + 1, end + 1).some((each) => known.isKnown(ASSIGNMENT.exec(each)?.[1] ?? ""))
    )
      throw invalid(name, `${file}:${at + 1}: 引号没有闭合 (the quote is not closed)`);
    const before = seen.get(name);
    const valueOf = (from: number, to: number) => parseEnv(lines.slice(from, to + 1).join("\n"))[name];
    if (before && valueOf(before.at, before.end) !== valueOf(at, end))
      throw invalid(
        name,
        `${file}:${at + 1}: 与第${before.at + 1}行重复且值不同 (set on line ${before.at + 1} already, to another value)`,
      );
    if (!before && !known.isKnown(name)) {
      const { variable, edits } = nearestName(name, known);
      if (edits <= MAX_EDITS || OURS.test(name))
        throw invalid(
          name,
          `${file}:${at + 1}: 未知的变量名，是否应为 ${variable}？ (unknown name; did you mean ${variable}?)`,
        );
      foreign.push(PLAIN_NAME.test(name) ? name : `第${at + 1}行 (line ${at + 1})`);
    }
    seen.set(name, { at, end });
    at = end;
  }
  const warnings =
    foreign.length === 0
      ? []
      : [`${file}: 不是本服务的变量，已忽略 (not variables of this service, ignored): ${foreign.join(", ")}`];
  const lineOf = (name: string) => {
    const place = seen.get(name);
    return place && place.at + 1;
  };
  return { variables: parseEnv(text), warnings, lineOf };
}

/** The variable of ours that is nearest to `name`, and by how many edits; of an app's variable the part before the id counts. */
export function nearestName(name: string, { suggestions }: Pick<KnownNames, "suggestions">): Suggestion {
  const bare = name.replace(/_?(?:w[a-z][0-9a-f]{6}|gh_).*$/i, "").toUpperCase();
  const [nearest = { variable: "", edits: Number.POSITIVE_INFINITY }] = suggestions
    .map((variable) => {
      const edits = editsBetween(bare, variable.replace(/_<.*$/, ""));
      // PROT is PORT, but HOME is not HOST.
      return { variable, edits: edits > 1 && variable.length <= 5 ? Number.POSITIVE_INFINITY : edits };
    })
    .toSorted((a, b) => a.edits - b.edits);
  if (nearest.edits <= MAX_EDITS || !/secret|appid|corpid/i.test(name)) return nearest;
  const family = /wecom|corp|_ww/i.test(name) ? "WECOM_SECRET_" : "WEIXIN_SECRET_";
  return { ...nearest, variable: suggestions.find((each) => each.startsWith(family)) ?? nearest.variable };
}

/** What `nearestName` finds. */
export interface Suggestion {
  readonly variable: string;
  readonly edits: number;
}

function readText(path: string | undefined): string {
  try {
    const bytes = readFileSync(path ?? ".env");
    const [first = 0, second = 0] = bytes;
    const encoding =
      first === 0xff && second === 0xfe
        ? "utf-16le"
        : first === 0xfe && second === 0xff
          ? "utf-16be"
          : "utf-8";
    return new TextDecoder(encoding).decode(bytes);
  } catch (error) {
    const { code = "unknown" } = error as { code?: string };
    if (code === "ENOENT" && path === undefined) return "";
    const file = path ?? ".env";
    throw invalid(
      "ENV_FILE",
      `无法读取 ${file}，请检查路径和权限 (${file} can't be read: ${code}; check path, owner and mode)`,
    );
  }
}

/** The index of the line on which the quoted value ends that begins on line `at` with `rest`. */
function lastLine(lines: readonly string[], at: number, rest: string, quote: string): number {
  if (rest.includes(quote)) return at;
  const end = lines.findIndex((line, index) => index > at && line.includes(quote));
  return end === -1 ? at : end;
}

function noAssignment(line: string, place: string, known: KnownNames): ServiceError {
  const [, word = ""] = /^\s*(?:export\s+)?(\w+)/.exec(line) ?? [];
  const { variable, edits } = nearestName(word, known);
  const meant = known.isKnown(word) ? word : edits <= MAX_EDITS || OURS.test(word) ? variable : undefined;
  const [chinese, english] = meant === undefined ? ["", ""] : [`，例如 ${meant}=…`, `, as ${meant}=…`];
  return invalid("ENV_FILE", `${place}: 不是 变量名=值 的形式${chinese} (this is no NAME=value${english})`);
}

/** How many insertions, deletions, replacements and swaps of neighbours lead from one text to the other. */
export function editsBetween(from: string, to: string): number {
  let [before, last]: [number[], number[]] = [
    [],
    Array.from({ length: to.length + 1 }, (_, column) => column),
  ];
  for (let row = 1; row <= from.length; row++) {
    const current = [row];
    for (let column = 1; column <= to.length; column++) {
      const at = (line: readonly number[], index: number) => line[index] ?? Number.POSITIVE_INFINITY;
      const isSame = from[row - 1] === to[column - 1];
      const isSwap = from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1];
      current[column] = Math.min(
        at(current, column - 1) + 1,
        at(last, column) + 1,
        at(last, column - 1) + (isSame ? 0 : 1),
        isSwap ? at(before, column - 2) + 1 : Number.POSITIVE_INFINITY,
      );
    }
    [before, last] = [last, current];
  }
  return last[to.length] ?? 0;
}

function invalid(name: string, reason: string): ServiceError {
  return new ServiceError("invalid_config", `${name}: ${reason}`);
}
