import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Sandbox, type SandboxOptions } from "../../src/sandbox/sandbox.ts";
import { Child } from "./child.ts";
import { type Answer, CORP, WECOM, WX } from "./harness.ts";

const BINARY = join(import.meta.dir, "../../dist/accesstoken");

/** The compiled program. Throws with the next step when it has not been built. */
export function binary(): string[] {
  if (!existsSync(BINARY)) throw new Error("dist/accesstoken is missing: run `bun run build`");
  return [BINARY];
}

/**
 * An empty folder, a sandbox in this process, and the program in processes of its own that work in that folder.
 *
 * Use it with `await using`: it ends the processes that are left and removes the folder.
 */
export class ProcessHarness {
  readonly folder = mkdtempSync(join(tmpdir(), "accesstoken-process-"));
  readonly sandbox: Sandbox;
  readonly #program: readonly string[];
  readonly #children: Child[] = [];

  constructor(program: readonly string[], sandbox: Partial<SandboxOptions> = {}) {
    this.#program = program;
    this.sandbox = Sandbox.start({ weixinApps: [WX], wecomApps: [WECOM], ...sandbox });
  }

  /** The variables of a service that holds the sandbox's apps. */
  get variables(): Record<string, string> {
    return {
      PORT: "0",
      WEIXIN_BASE_URL: this.sandbox.weixinUrl,
      WECOM_BASE_URL: this.sandbox.wecomUrl,
      [`WEIXIN_SECRET_${WX.appId}`]: WX.secret,
      [`WECOM_SECRET_${CORP}_${WECOM.agent}`]: WECOM.secret,
    };
  }

  /** Writes a file into the folder. */
  write(name: string, content: string): void {
    writeFileSync(join(this.folder, name), content);
  }

  /** Runs the program with these arguments, and with nothing in its environment but `env`. */
  run(args: readonly string[], env: Record<string, string> = {}, program = this.#program): Child {
    const child = new Child([...program, ...args], { cwd: this.folder, env });
    this.#children.push(child);
    return child;
  }

  /** Starts the service with `variables` and `env`, and with these options of `serve`. */
  async serve(
    env: Record<string, string> = {},
    options: readonly string[] = [],
    program = this.#program,
  ): Promise<{ service: Child; url: string }> {
    const service = this.run(["serve", ...options], { ...this.variables, ...env }, program);
    return { service, url: await service.serviceUrl() };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) await child[Symbol.asyncDispose]();
    await this.sandbox.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** GETs a path with a query from a service in another process, and reads the envelope. */
export async function ask(
  url: string,
  path: string,
  query: Record<string, string> = {},
  init: RequestInit = {},
): Promise<Answer> {
  const search = new URLSearchParams(query).toString();
  const response = await fetch(`${url}${path}${search ? `?${search}` : ""}`, { keepalive: false, ...init });
  const text = await response.text();
  const { code, msg, data } = JSON.parse(text) as Answer;
  return { status: response.status, headers: response.headers, text, code, msg, data };
}
