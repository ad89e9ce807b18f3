import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Database } from "bun:sqlite";
import { NAME, VERSION } from "../../src/version.ts";

const ROOT = join(import.meta.dir, "../..");

/** An entry of `packages` in bun.lock: name@version, place, relations, integrity. */
type Locked = readonly [
  string,
  string,
  { readonly dependencies?: Record<string, string> } & Relations,
  string,
];
interface Relations {
  readonly optionalDependencies?: Record<string, string>;
  readonly peerDependencies?: Record<string, string>;
  readonly optionalPeers?: readonly string[];
}

interface Lock {
  readonly workspaces: { readonly "": { readonly dependencies: Record<string, string> } };
  readonly packages: Readonly<Record<string, Locked>>;
}

/** A part of the program, in the words of CycloneDX. */
export interface Component {
  readonly type: "library" | "platform";
  readonly "bom-ref": string;
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly hashes?: readonly { readonly alg: "SHA-512"; readonly content: string }[];
  readonly licenses?: readonly { readonly expression: string }[];
}

/**
 * The CycloneDX document of the program: the packages that bun.lock gives its dependencies, without those for development,
 * and Bun and SQLite, which every binary contains. `at` is the build's time in seconds.
 *
 * The same lock file and time make the same text.
 */
export function billOfMaterials(at: number): string {
  const lock = readLock();
  const keys = closureOf(lock);
  const root = { "bom-ref": purlOf(NAME, VERSION), type: "application", name: NAME, version: VERSION };
  const bun = embedded("bun", Bun.version, "platform");
  const sqlite = embedded("sqlite", sqliteVersion(), "library");
  const refOf = (key: string) => purlOf(...nameAndVersion(lock, key));
  const dependencies = [
    { ref: root["bom-ref"], dependsOn: [...namesFor(lock, "").map(refOf), bun.purl].toSorted() },
    ...keys.map((key) => ({ ref: refOf(key), dependsOn: namesFor(lock, key).map(refOf).toSorted() })),
    { ref: bun.purl, dependsOn: [sqlite.purl] },
  ];
  const body = {
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    version: 1,
    metadata: {
      timestamp: new Date(at * 1000).toISOString(),
      component: { ...root, licenses: [{ expression: "MIT" }] },
    },
    components: [...keys.map((key) => componentOf(lock, key)), bun, sqlite],
    dependencies: [...new Map(dependencies.map((each) => [each.ref, each])).values()],
  };
  const digest = createHash("sha256").update(JSON.stringify(body)).digest("hex");
  const serialNumber = `urn:uuid:${digest.slice(0, 8)}-${digest.slice(8, 12)}-8${digest.slice(13, 16)}-8${digest.slice(17, 20)}-${digest.slice(20, 32)}`;
  return `${JSON.stringify({ ...body, serialNumber }, null, 2)}\n`;
}

function readLock(): Lock {
  return Bun.JSONC.parse(readFileSync(join(ROOT, "bun.lock"), "utf8")) as Lock;
}

/** The keys of all packages that the program's own dependencies lead to, in order. */
function closureOf(lock: Lock): string[] {
  const found = new Set<string>();
  const left = namesFor(lock, "");
  for (let key = left.pop(); key !== undefined; key = left.pop()) {
    if (found.has(key)) continue;
    found.add(key);
    left.push(...namesFor(lock, key));
  }
  return [...found].toSorted();
}

/** The keys of what a package asks for; the nearest one counts, as with nested folders. */
function namesFor(lock: Lock, key: string): string[] {
  const [, , relations] = lock.packages[key] ?? [];
  const { dependencies, optionalDependencies, peerDependencies, optionalPeers } = {
    ...(key === "" ? lock.workspaces[""] : relations),
  } as Locked[2];
  const peers = Object.keys(peerDependencies ?? {}).filter((name) => !optionalPeers?.includes(name));
  const names = [...Object.keys({ ...dependencies, ...optionalDependencies }), ...peers];
  return names.flatMap((name) => nearest(lock, key, name) ?? []);
}

function nearest(lock: Lock, key: string, name: string): string | undefined {
  const nested = key === "" ? name : `${key}/${name}`;
  if (nested in lock.packages) return nested;
  return key === "" ? undefined : nearest(lock, parentOf(key), name);
}

/** In whose folder a package lies; empty for the outermost. */
function parentOf(key: string): string {
  return key.replace(/\/?(@[^/]+\/)?[^/]+$/, "");
}

function nameAndVersion(lock: Lock, key: string): [string, string] {
  const [id = ""] = lock.packages[key] ?? [];
  const at = id.lastIndexOf("@");
  return [id.slice(0, at), id.slice(at + 1)];
}

function componentOf(lock: Lock, key: string): Component {
  const [name, version] = nameAndVersion(lock, key);
  const [, , , integrity = ""] = lock.packages[key] ?? [];
  const content = Buffer.from(integrity.replace("sha512-", ""), "base64").toString("hex");
  const license = licenseOf(key);
  return {
    type: "library",
    "bom-ref": purlOf(name, version),
    name,
    version,
    purl: purlOf(name, version),
    hashes: [{ alg: "SHA-512", content }],
    ...(license === undefined ? {} : { licenses: [{ expression: license }] }),
  };
}

function licenseOf(key: string): string | undefined {
  try {
    const parent = parentOf(key);
    const name = key.slice(parent === "" ? 0 : parent.length + 1);
    const path = join(
      ROOT,
      "node_modules",
      parent,
      parent === "" ? "" : "node_modules",
      name,
      "package.json",
    );
    return (JSON.parse(readFileSync(path, "utf8")) as { license?: string }).license;
  } catch {
    // One that is not installed here.
    return undefined;
  }
}

function embedded(name: string, version: string, type: Component["type"]): Component {
  const purl = `pkg:generic/${name}@${version}`;
  return { type, "bom-ref": purl, name, version, purl };
}

function purlOf(name: string, version: string): string {
  return `pkg:npm/${name.replace("@", "%40")}@${version}`;
}

function sqliteVersion(): string {
  using database = new Database(":memory:");
  return (database.query("SELECT sqlite_version() AS version").get() as { version: string }).version;
}
