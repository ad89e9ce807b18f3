import { resolve } from "node:path";
import { type Meaning, type VariableName, VARIABLES } from "./variables.ts";

/** A variable as it is in force: what it says, without anything secret, and who says so. */
export interface VariableInForce {
  readonly name: string;
  /** `[secret]` in the place of what is secret; empty for none. */
  readonly value: string;
  readonly origin: "environment" | "file" | "default";
  /** Where it is set, for one of the file: its path, and the line, the first being 1. */
  readonly file?: string | undefined;
  readonly line?: number | undefined;
  /** Undefined for a variable with a name of the operator's own. */
  readonly meaning?: Meaning | undefined;
}

/** Where variables were read. */
export interface VariableOrigins {
  /** Those of the environment, which win. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** The path of the file; undefined for the default one. */
  readonly path: string | undefined;
  /** On which line of the file a variable is set. */
  readonly lineOf: (name: string) => number | undefined;
}

const MASK = "[secret]";
/** The parameters of a URL that say how a connection is made, and by no secret. */
const PLAIN_PARAMETER = /^.(sslmode|ssl|tls)=/;

/** The variable of that name with the value `text`. */
export function variableInForce(
  name: string,
  text: string,
  { environment, path, lineOf }: VariableOrigins,
): VariableInForce {
  const isSecret = name === ("MASTER_KEY" satisfies VariableName);
  const value = isSecret && text !== "" ? MASK : withoutSecrets(text);
  const known = Object.hasOwn(VARIABLES.properties, name)
    ? VARIABLES.properties[name as VariableName]
    : undefined;
  const shown = { name, value, meaning: known?.["meaning"] as Meaning | undefined };
  if (environment[name] !== undefined) return { ...shown, origin: "environment" };
  const line = lineOf(name);
  if (line === undefined) return { ...shown, origin: "default" };
  return { ...shown, origin: "file", file: resolve(path ?? ".env"), line };
}

/** A URL without what is or may be a password; all of it is one where it is not clear what is. */
function withoutSecrets(text: string): string {
  if (!/:\/\/.*[@?#]/s.test(text)) return text;
  const { protocol, host, pathname, search, hash, username, password } = new URL(text);
  const who = username || password ? `${MASK}@` : "";
  if (text.split("@").length !== (who === "" ? 1 : 2)) return MASK;
  const parameters = search.replaceAll(/[?&][^?&]*/g, (part) =>
    PLAIN_PARAMETER.test(part) ? part : `${part[0]}${MASK}`,
  );
  return `${protocol}//${who}${host}${pathname}${parameters}${hash === "" ? "" : `#${MASK}`}`;
}
