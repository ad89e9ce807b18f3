import { createHash } from "node:crypto";
import { basename } from "node:path";
import type { ConsoleFile } from "../api/console.ts";
import page from "./web/index.html";

/** Where the files are served. */
const PUBLIC_PATH = "/console/";
const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
};

let loaded: Promise<ReadonlyMap<string, ConsoleFile>> | undefined;

/**
 * The files of the console by their names, the page as the empty one. From the binary they are those that were built into
 * it; from source they are built when they are first asked for.
 */
export function loadConsole(): Promise<ReadonlyMap<string, ConsoleFile>> {
  loaded ??= read().catch((error: unknown) => {
    loaded = undefined;
    throw error;
  });
  return loaded;
}

async function read(): Promise<ReadonlyMap<string, ConsoleFile>> {
  const texts = page.files
    ? page.files.map(async ({ path }) => [basename(path), await Bun.file(path).text()] as const)
    : (await built()).map(async (file) => [basename(file.path), await file.text()] as const);
  const files = new Map<string, ConsoleFile>();
  for (const [name, text] of await Promise.all(texts)) {
    const ending = name.split(".").at(-1) ?? "";
    const type = TYPES[ending];
    if (type === undefined) continue;
    // A build into a binary knows no public path.
    if (ending === "html") files.set("", toFile(text.replaceAll(`"/chunk-`, `"${PUBLIC_PATH}chunk-`), type));
    else files.set(name, toFile(text, type));
  }
  return files;
}

async function built(): Promise<readonly Bun.BuildArtifact[]> {
  const entry = new URL("./web/index.html", import.meta.url).pathname;
  const { outputs } = await Bun.build({ entrypoints: [entry], minify: true, publicPath: PUBLIC_PATH });
  return outputs;
}

function toFile(text: string, type: string): ConsoleFile {
  const body = new TextEncoder().encode(text);
  const etag = `"${createHash("sha256").update(body).digest("hex").slice(0, 16)}"`;
  return { body, gzip: Bun.gzipSync(body, { level: 9 }), type, etag };
}
