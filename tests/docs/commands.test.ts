import { expect, test } from "bun:test";
import { chmodSync, cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import { Child } from "../support/child.ts";
import { CORP, WECOM, WX } from "../support/harness.ts";
import { binary, ProcessHarness } from "../support/process-harness.ts";
import { type CodeBlock, read, ROOT } from "./document.ts";

/** What a clone has, as far as the commands need it. */
const CLONED = [
  "package.json",
  "bun.lock",
  "bunfig.toml",
  "src",
  "drizzle",
  "docs",
  "README.md",
  "README.zh-CN.md",
];

/** A command that runs until it is stopped, and what it prints once it answers. */
const SERVER = /\brun (demo|start|sandbox)\b|\baccesstoken (demo|serve|sandbox)\b/;
const READY = /API: (http:\S+)\/swagger|"event":"service\.started","url":"([^"]+)"/;

/** What a reader replaces by their own. */
const OWN: Readonly<Record<string, string>> = {
  ww0123456789abcdef_1000002: `${CORP}_${WECOM.agent}`,
  wx0123456789abcdef: WX.appId,
  "<AppSecret>": WX.secret,
  "<corpsecret>": WECOM.secret,
};

/** A reader with a clone, a terminal for the service and one for everything else, and the sandbox in the place of WeChat. */
class Reader {
  readonly #world = new ProcessHarness(binary());
  readonly #folder = join(this.#world.folder, "accesstoken-service");
  readonly #path = join(this.#world.folder, "bin");
  #exports: string[] = [];
  #server: Child | undefined;
  #url = "http://127.0.0.1:3000";

  constructor() {
    mkdirSync(this.#path);
    for (const path of CLONED) cpSync(join(ROOT, path), join(this.#folder, path), { recursive: true });
    // Node's own npx would ask the registry which file belongs to this very version.
    const npx = `#!/bin/sh\n[ "$1 $2" = "-y bun@${manifest.engines.bun}" ] || exit 64\nshift 2\nexec '${process.execPath}' "$@"\n`;
    writeFileSync(join(this.#path, "npx"), npx);
    chmodSync(join(this.#path, "npx"), 0o755);
  }

  /** Writes a block of variables into `.env`, with values of the reader's own. */
  fill(block: CodeBlock): void {
    writeFileSync(join(this.#folder, ".env"), this.#own(block.text));
  }

  /** Runs a block as it stands, and returns what it printed. One that starts a server stops the server before. */
  async run(block: CodeBlock): Promise<string> {
    const script = `${this.#exports.join("\n")}\n${this.#own(block.text)}`;
    this.#exports.push(...block.text.split("\n").filter((line) => line.startsWith("export ")));
    const child = new Child(["bash", "-euo", "pipefail", "-c", script], {
      cwd: this.#folder,
      isGroup: true,
      env: {
        PATH: `${this.#path}:${process.env["PATH"] ?? ""}`,
        PORT: "0",
        WEIXIN_BASE_URL: this.#world.sandbox.weixinUrl,
        WECOM_BASE_URL: this.#world.sandbox.wecomUrl,
      },
    });
    if (SERVER.test(block.text)) {
      await this.#stop();
      this.#server = child;
      const [, demo, service] = await child.find(READY);
      this.#url = demo ?? service ?? "";
      return child.stdout;
    }
    const code = await child.exited();
    expect([block.text, code, code === 0 ? "" : child.stderr]).toEqual([block.text, 0, ""]);
    return child.stdout;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop();
    await this.#world[Symbol.asyncDispose]();
  }

  /** Ctrl+C. */
  async #stop(): Promise<void> {
    this.#server?.signal("SIGINT");
    await this.#server?.exited();
    this.#server = undefined;
  }

  #own(text: string): string {
    const own = Object.entries(OWN).reduce((all, [theirs, ours]) => all.replaceAll(theirs, ours), text);
    return own.replaceAll("http://127.0.0.1:3000", this.#url);
  }
}

/** Whether an answer is what a document shows: the same fields, and the same code. */
function expectAnswer(answer: string, shown: string): void {
  const [actual, expected] = [answer, shown].map((text) => JSON.parse(text) as Record<string, unknown>);
  expect(Object.keys(actual ?? {})).toEqual(Object.keys(expected ?? {}));
  for (const name of ["code", "errcode"]) expect(actual?.[name]).toBe(expected?.[name]);
}

/** What this very test is part of. */
const ALL_TESTS = /\brun test$/m;

test.each(["README.md", "docs/quick-start.md"])(
  "every sh block of %s runs as it stands, in its order, on a fresh clone",
  async (path) => {
    await using reader = new Reader();
    const { blocks } = read(path);
    for (const [index, block] of blocks.entries()) {
      if (block.language === "ini") reader.fill(block);
      if (block.language !== "sh" || ALL_TESTS.test(block.text)) continue;
      const output = await reader.run(block);
      const next = blocks[index + 1];
      if (next?.language === "json") expectAnswer(output, next.text);
      else if (block.text.startsWith("curl ")) expect(JSON.parse(output)).toHaveProperty("code", 0);
    }
  },
  240_000,
);
