import { type Static, type TSchema, Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { CLIENT_NAME } from "../access/client.ts";
import { ENVIRONMENT_NAME, LOGIN_CODES, type LoginCodes } from "../access/environments.ts";
import { type RouteData, routesBody, targetBody } from "../api/v1-callbacks-schema.ts";
import { clientChangeBody } from "../api/v1-clients-schema.ts";
import { ServiceError } from "../errors.ts";
import { readText } from "./file-arguments.ts";
import { readRedirectOrigin, redirectOriginText } from "../oauth/redirect-origins.ts";
import { usageError } from "./arguments.ts";

const environment = Type.Object(
  {
    production: Type.Optional(Type.Boolean()),
    codes: Type.Optional(Type.Unsafe<LoginCodes>(Type.Union(LOGIN_CODES.map((each) => Type.Literal(each))))),
  },
  { additionalProperties: false },
);
const { environment: ofClient, grants, ...others } = clientChangeBody.properties;
const client = Type.Object(
  { ...others, environment: Type.Optional(ofClient, false), grants: Type.Optional(grants, false) },
  { additionalProperties: false },
);
/** Without what is secret. */
const target = Type.Object(
  {
    environment: Type.Optional(targetBody.properties.environment, false),
    ...Type.Pick(targetBody, ["url", "content", "timeout"]).properties,
  },
  { additionalProperties: false },
);
const { routes } = routesBody.properties;

/** An object whose keys are names of that form. */
const named = <T extends TSchema>(pattern: RegExp, value: T) =>
  Type.Record(Type.String({ pattern: pattern.source }), value, { additionalProperties: false });
const APP = /^[A-Za-z0-9_-]{1,130}$/;
const TARGET = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

const manifest = Type.Object(
  {
    environments: Type.Optional(named(ENVIRONMENT_NAME, environment)),
    clients: Type.Optional(named(CLIENT_NAME, client)),
    redirect_origins: Type.Optional(
      named(APP, named(ENVIRONMENT_NAME, Type.Array(Type.String({ minLength: 1, maxLength: 300 })))),
    ),
    callbacks: Type.Optional(
      named(
        APP,
        Type.Object(
          { targets: Type.Optional(named(TARGET, target)), routes: Type.Optional(routes) },
          { additionalProperties: false },
        ),
      ),
    ),
  },
  { additionalProperties: false },
);

/**
 * What shall be there, as a file says it: environments, clients, redirect origins, and where pushes go, by the names and in
 * the fields of `/v1`. What a section leaves out stays as it is.
 */
export type Manifest = Static<typeof manifest>;
/** What shall be set of a client; null for no limit. */
export type ManifestClient = Static<typeof client>;
/** Which pushes go to a target. */
export type ManifestRoute = RouteData;

/** What is said of a field that no schema has. */
const UNKNOWN = "Unexpected property";
/** More is no list of clients any more. */
const MAX_BYTES = 1024 * 1024;

/**
 * Reads a manifest of YAML or JSON; - for standard input, which `readInput` gives.
 *
 * @throws {ServiceError} `invalid_parameter`, which names file, line and field of what is wrong, and never a value.
 */
export async function readManifest(
  file: string,
  readInput: (limit: number) => Promise<string>,
): Promise<Manifest> {
  const text = file === "-" ? await readInput(MAX_BYTES) : readText("-f", file, MAX_BYTES);
  return parseManifest(file, text);
}

/** As `readManifest`, of the text of a file of that name. */
function parseManifest(file: string, text: string): Manifest {
  const fail = (line: number, chinese: string, english: string, field = "") =>
    usageError(`${file}:${line}: ${field && `${field}: `}${chinese} (${english})`);
  if (text.length > MAX_BYTES) throw fail(1, "文件过大", "the file is too large");
  const secret = text.split("\n").findIndex((line) => SECRETS.some((each) => each.test(line)));
  if (secret >= 0)
    throw fail(
      secret + 1,
      "文件中不得有secret、密钥或Token：密钥由服务生成，应用的secret用 accesstoken apps set-secret 设置",
      "no secret, key or Token may be in the file: keys are made by the service, and accesstoken apps set-secret sets an app's secret",
    );
  const lines = new LineMap(text);
  const { duplicate } = lines;
  if (duplicate) throw fail(duplicate.line, "重复", "given twice", duplicate.path);
  const value = parse(text);
  if (value === undefined)
    throw fail(firstBrokenLine(text), "不是有效的YAML或JSON", "not valid YAML or JSON");
  const faults = [...Value.Errors(manifest, value)];
  // A field that is misspelt is missing, too.
  const fault = faults.find(({ message }) => message === UNKNOWN) ?? faults[0];
  if (!fault) return withOrigins(value as Manifest, (path) => `${file}:${lines.of(path)}: ${path.join(".")}`);
  const path = fault.path.slice(1).replaceAll("~1", "/").split("/");
  const name = path.join(".") || "manifest";
  const isUnknown = fault.message === UNKNOWN;
  const isMissing = !isUnknown && fault.value === undefined;
  const values = literalsOf(fault.schema).join(", ");
  const [chinese, english] = isUnknown
    ? (["未知的字段，或名称不符合规则", "an unknown field, or no possible name"] as const)
    : isMissing
      ? (["缺少该字段", "it is missing"] as const)
      : values
        ? ([`应为以下之一：${values}`, `must be one of ${values}`] as const)
        : (["类型、长度或字符不正确", "a wrong type, length or character"] as const);
  throw fail(lines.of(path), chinese, english, name);
}

/** The values of which a schema takes one; empty where it takes others. */
function literalsOf({ anyOf = [] }: TSchema): readonly unknown[] {
  const values = (anyOf as readonly TSchema[]).map(({ const: value }) => value as unknown);
  return values.includes(undefined) ? [] : values;
}

/** With its redirect origins as the service writes them; `whereOf` says where one of that path stands. */
function withOrigins(value: Manifest, whereOf: (path: string[]) => string): Manifest {
  const { redirect_origins: all } = value;
  if (!all) return value;
  const apps = Object.entries(all).map(([app, environments]) => {
    const lists = Object.entries(environments).map(([name, list]) => {
      const path = ["redirect_origins", app, name];
      return [name, list.map((each, n) => originOf(each, whereOf([...path, String(n)])))] as const;
    });
    return [app, Object.fromEntries(lists)] as const;
  });
  return { ...value, redirect_origins: Object.fromEntries(apps) };
}

/** A redirect origin as the service writes it. Throws a usage error that begins with `where` for what is none. */
export function originOf(text: string, where: string): string {
  try {
    return redirectOriginText(readRedirectOrigin(text));
  } catch (error) {
    throw error instanceof ServiceError ? usageError(`${where}: ${error.message}`) : error;
  }
}

/** Names of what is secret, as keys of YAML or JSON, and texts that can be nothing else. */
const SECRETS: readonly RegExp[] = [
  /(?:^|[\s{,-])["']?(?:\w*secret|token|access_token|(?:encoding_?)?aes_?key|hmac_?key|api_?key|password|master_?key)["']?\s*:(?:\s|$|["'])/i,
  /\bats_[0-9A-Za-z]{20,}/,
  /(?<![\w-])[0-9a-f]{32}(?![\w-])/i,
];

function parse(text: string): unknown {
  try {
    return Bun.YAML.parse(text) ?? {};
  } catch {
    return undefined;
  }
}

/** The line after the longest beginning that can be read: the parser does not say where it stopped. */
function firstBrokenLine(text: string): number {
  const lines = text.split("\n");
  for (let n = lines.length - 1; n > 0; n--)
    if (parse(lines.slice(0, n).join("\n")) !== undefined) return n + 1;
  return 1;
}

/** Where each field stands, of what is written a field a line. */
class LineMap {
  readonly #lines = new Map<string, number>();
  /** The first field that is there twice in one object, of which the parser would take the last. */
  readonly duplicate: { readonly line: number; readonly path: string } | undefined;

  constructor(text: string) {
    const open: { readonly column: number; readonly path: string; items: number }[] = [];
    for (const [n, line] of text.split("\n").entries()) {
      const [, indent = "", dash = "", name] = FIELD.exec(line) ?? [];
      if (dash === "" && name === undefined) continue;
      const column = indent.length;
      while ((open.at(-1)?.column ?? -1) > column - (dash === "" ? 0 : 1)) {
        // A dash may stand below its list's name, in the same column.
        if (dash !== "" && open.at(-1)?.column === column) break;
        open.pop();
      }
      if (dash !== "") {
        const list = open.at(-1);
        const item = list ? `${list.path}/${list.items++}` : "";
        this.#lines.set(item, n + 1);
        open.push({ column: column + 1, path: item, items: 0 });
      }
      if (name === undefined) continue;
      const at = column + dash.length;
      while ((open.at(-1)?.column ?? -1) >= at) open.pop();
      const path = `${open.at(-1)?.path ?? ""}/${name}`;
      if (this.#lines.has(path)) this.duplicate ??= { line: n + 1, path: path.slice(1).replaceAll("/", ".") };
      else this.#lines.set(path, n + 1);
      open.push({ column: at, path, items: 0 });
    }
  }

  /** The line of a field, or of the nearest around it that has one. */
  of(path: readonly string[]): number {
    for (let n = path.length; n > 0; n--) {
      const line = this.#lines.get(`/${path.slice(0, n).join("/")}`);
      if (line !== undefined) return line;
    }
    return 1;
  }
}

/** The indent of a line, a dash before an item, and the name before a colon. */
const FIELD = /^(\s*)((?:-\s+)?)(?:["']?([^\s"'#:{}[\],&*]+)["']?\s*:(?=\s|$))?/;
