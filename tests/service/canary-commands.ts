import { chmodSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { createApiKey } from "../../src/access/api-key.ts";
import type { ProcessHarness } from "../support/process-harness.ts";
import type { Ear } from "./canary-listener.ts";
import { CORP_MANAGED, MANAGED, OWN, VARIABLES } from "./canary-harness.ts";

/** The command line on the machine of a service, whose every word is overheard. */
export class Commands {
  readonly #world: ProcessHarness;

  constructor(world: ProcessHarness) {
    this.#world = world;
  }

  /** A new API key of an administrator; the client is made when there is none. */
  async createAdminKey(): Promise<string> {
    const { code, stdout, stderr } = await this.#run([
      "keys",
      "create",
      "--admin",
      "--new-database",
      "--json",
    ]);
    if (code !== 0) throw new Error(stderr);
    return (JSON.parse(stdout) as { api_key: string }).api_key;
  }

  /** What a person does wrongly, with a secret in it. Gives the exit codes. */
  async everyFailure(ear: Ear, adminKey: string): Promise<readonly number[]> {
    const unknownKey = createApiKey().reveal();
    ear.secrets.set(unknownKey, "unknown key");
    const secret = ear.fresh("typed secret");
    const file = (content: string) => this.#file(content);
    const [badKey, noKey, goodKey] = [file(unknownKey), file(secret), file(adminKey)];
    const [wrong, odd] = [file(ear.fresh("app secret")), file(`${ear.fresh("app secret")} x`)];
    mkdirSync(join(this.#world.folder, "a-folder"));
    const to = (keyFile: string) => ["--url", ear.url, "--key-file", keyFile];
    const failing = [
      ["apps", "list", ...to(badKey)],
      ["apps", "list", ...to(badKey), "--json"],
      ["token", "get", OWN.appId, ...to(badKey)],
      ["apps", "list", ...to(noKey)],
      ["apps", "list", ...to("a-folder")],
      ["apps", "list", ...to("nowhere")],
      ["apps", "list", "--url", "http://127.0.0.1:1", "--key-file", goodKey],
      ["apps", "list", "--url", ear.url.replace("//", `//x:${unknownKey}@`)],
      ["apps", "list", "--url", `${ear.url}/?key=${unknownKey}`],
      ["apps", "list", "--url", ear.url, `--key=${unknownKey}`],
      ["apps", "list", "--url", ear.url, "--key-file", unknownKey],
      ["apps", "add", MANAGED.appId, secret],
      ["apps", "add", MANAGED.appId, "--secret", secret],
      ["apps", "add", MANAGED.appId, `--secret=${secret}`],
      ["apps", "add", secret],
      ["apps", "add", MANAGED.appId, "--mode", secret, "--secret-file", wrong],
      ["apps", "add", MANAGED.appId, "--secret-file", odd],
      ["apps", "add", MANAGED.appId, "--secret-file", secret],
      ["apps", "add", MANAGED.appId, "--secret-file", wrong, "--verify"],
      ["apps", "add", MANAGED.appId, "--secret-file", wrong, "--verify", ...to(goodKey)],
      ["apps", "add", OWN.appId, "--secret-file", wrong, "--json"],
      [
        "apps",
        "set-secret",
        `${CORP_MANAGED.corpId}_${CORP_MANAGED.agent}`,
        "--secret-file",
        wrong,
        "--verify",
      ],
      ["apps", "set-secret", OWN.appId, "--secret-file", wrong, ...to(goodKey)],
      ["clients", "add", secret, "--environment", "dev"],
      ["clients", "add", "bot", "--environment", secret, "--actions", secret],
      ["keys", "create", unknownKey],
      ["keys", "create", "reader", "--expires", secret],
      ["keys", "revoke", "reader", unknownKey],
      ["keys", "roll", "reader", unknownKey, "--overlap", secret],
      ["keys", "list", "nobody", ...to(goodKey)],
      ["audit", "list", "--since", secret],
      ["audit", "list", "--client", secret],
      ["token", "get", secret],
      ["token", "get", OWN.appId, "--kind", secret],
      ["serve", secret],
      [secret],
      ["help", secret],
      ["keys", secret],
    ];
    // Each is a process; a few at a time.
    const codes: number[] = [];
    for (let n = 0; n < failing.length; n += 4) {
      const some = failing.slice(n, n + 4).map((args) => this.#overheard(ear, args));
      codes.push(...(await Promise.all(some)));
    }
    const strange = "0ddba11".padEnd(64, "5");
    ear.secrets.set(strange, "wrong master key");
    codes.push(await this.#overheard(ear, ["apps", "list"], { MASTER_KEY: strange }));
    codes.push(await this.#overheard(ear, ["apps", "list"], { MASTER_KEY: secret }));
    return codes;
  }

  async #overheard(ear: Ear, args: readonly string[], env: Record<string, string> = {}): Promise<number> {
    const { code, stdout, stderr } = await this.#run(args, env);
    ear.keep(`${stdout}\n${stderr}`);
    return code;
  }

  async #run(args: readonly string[], env: Record<string, string> = {}) {
    const child = this.#world.run(args, { ...this.#world.variables, ...VARIABLES, ...env });
    const code = await child.exited();
    return { code, stdout: child.stdout, stderr: child.stderr };
  }

  #files = 0;

  #file(content: string): string {
    const name = `file-${this.#files++}`;
    this.#world.write(name, `${content}\n`);
    chmodSync(join(this.#world.folder, name), 0o600);
    return name;
  }
}
