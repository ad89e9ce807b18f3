import { Database } from "bun:sqlite";
import { expect } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { type CheckResult, CHECKS } from "../../src/ops/doctor.ts";
import { MILESTONES } from "../../src/ops/milestones.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { systemClock } from "../../src/clock.ts";
import { Child } from "./child.ts";
import { ask, binary, ProcessHarness } from "./process-harness.ts";
import { WECOM, WX } from "./harness.ts";

/** What the machine that runs the tests has, and no set-up of a test: free space, file system, speed. */
const OF_MACHINE = new Set([9, 10, 11]);

/** A trouble that the doctor must name: the check, how bad it is, and the words of its remedy. */
export type Trouble = readonly [id: number, state: "warn" | "fail", remedy: RegExp];

type Words = Readonly<Record<"zh" | "en", string>>;

/** What `doctor --json` printed. */
export interface Diagnosis {
  readonly code: number;
  readonly checks: readonly (Pick<CheckResult, "id" | "name" | "area" | "state"> & {
    message: Words;
    remedy: Words | null;
  })[];
}

/**
 * A folder in which the service has run and lacks nothing, out of which set-ups are copied and broken.
 *
 * Use it with `await using`.
 */
export class DoctorHarness {
  readonly world: ProcessHarness;
  readonly #base: string;
  #copies = 0;

  private constructor(world: ProcessHarness) {
    this.world = world;
    this.#base = join(world.folder, "healthy");
  }

  static async start(): Promise<DoctorHarness> {
    const harness = new DoctorHarness(new ProcessHarness(binary()));
    await harness.#prepare();
    return harness;
  }

  async #prepare(): Promise<void> {
    mkdirSync(this.#base);
    const healthy = new SetUp(this.#base);
    const { variables } = this.world;
    const places = { DATABASE_URL: "file:data/accesstoken.db", MASTER_KEY_FILE: "key/master.key" };
    healthy.write(Object.entries({ ...variables, ...places }));
    await healthy.serving(async (url) => {
      expect((await ask(url, "/AccessToken/getXcx", { appid: WX.appId })).code).toBe(0);
    });
    await healthy.command(
      "clients",
      "add",
      "shop",
      "--environment",
      "prod",
      "--apps",
      WX.appId,
      "--actions",
      "view",
    );
    await healthy.command("keys", "create", "shop", "--out", "shop.key");
    const store = await openSqliteStore({
      path: healthy.path("data/accesstoken.db"),
      masterKey: undefined,
      masterKeyFile: healthy.path("key/master.key"),
      newDatabase: false,
      clock: systemClock,
      onKeyCreated: () => undefined,
    });
    const done = MILESTONES.filter((name) => name !== "backup_failed");
    for (const name of done) await store.milestones.reach(name, { at: Date.now(), detail: {} });
    store.close();
  }

  /** A set-up that lacks nothing, in a folder of its own, or in `folder`, which is there. */
  setUp(folder = mkdtempSync(join(this.world.folder, `${++this.#copies}-`))): SetUp {
    const { exitCode } = Bun.spawnSync(["cp", "-a", `${this.#base}/.`, folder]);
    expect(exitCode).toBe(0);
    return new SetUp(folder);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.world[Symbol.asyncDispose]();
  }
}

/** A set-up of the service in a folder. */
export class SetUp {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** Writes the env file anew, for its owner alone. */
  write(variables: readonly (readonly [string, string])[]): void {
    const text = variables.map(([name, value]) => `${name}=${value}\n`).join("");
    writeFileSync(this.path(".env"), text, { mode: 0o600 });
  }

  /** Sets variables in the env file. */
  set(variables: Readonly<Record<string, string>>): void {
    const lines = readFileSync(this.path(".env"), "utf8").split("\n").filter(Boolean);
    const kept = lines.map((line) => line.split("=", 1)[0] ?? "").filter((name) => !(name in variables));
    const valueOf = (name: string) =>
      lines.find((line) => line.startsWith(`${name}=`))?.slice(name.length + 1) ?? "";
    this.write([...kept.map((name) => [name, valueOf(name)] as const), ...Object.entries(variables)]);
  }

  /** Changes the database past the service. */
  sql(...statements: readonly string[]): void {
    using database = new Database(this.path("data/accesstoken.db"));
    for (const each of statements) database.run(each);
  }

  /** Runs a command of the program here, which must succeed. */
  async command(...args: readonly string[]): Promise<string> {
    await using child = new Child([...binary(), ...args], { cwd: this.folder });
    expect([args, await child.exited(), child.stderr]).toEqual([args, 0, expect.anything()]);
    return child.stdout;
  }

  /** Runs the service here while `work` does. */
  async serving(
    work: (url: string, service: Child) => Promise<void>,
    program = binary(),
    env: Record<string, string> = {},
  ): Promise<void> {
    await using service = new Child([...program, "serve"], { cwd: this.folder, env });
    await work(await service.serviceUrl(), service);
    service.signal("SIGTERM");
    await service.exited();
  }

  /** What the doctor says, `shell` being how it is started. */
  async diagnose(
    args: readonly string[] = [],
    env: Record<string, string> = {},
    shell: readonly string[] = [],
  ): Promise<Diagnosis> {
    await using child = new Child([...shell, ...binary(), "doctor", "--json", ...args], {
      cwd: this.folder,
      env,
    });
    const code = await child.exited();
    expect([code, child.stderr]).toEqual([code, ""]);
    for (const secret of this.#secrets()) expect(child.stdout).not.toContain(secret);
    const { checks } = JSON.parse(child.stdout) as Pick<Diagnosis, "checks">;
    return { code, checks };
  }

  /** What the doctor must never say. */
  #secrets(): string[] {
    const files = ["key/master.key", "shop.key"]
      .map((name) => this.path(name))
      .filter((path) => existsSync(path));
    return [WX.secret, WECOM.secret, ...files.map((path) => readFileSync(path, "utf8").trim())];
  }

  /** Every file here, as it would look to who compares: name, owner, mode, size, time and bytes. */
  look(): string[] {
    return readdirSync(this.folder, { recursive: true })
      .map(String)
      .toSorted()
      .map((name) => {
        const { uid, mode, size, mtimeMs, isFile } = pick(statSync(this.path(name)));
        // The index of a log that is in use holds no data, and who reads marks it.
        const bytes = isFile && !name.endsWith("-shm") ? Bun.hash(readFileSync(this.path(name))) : "";
        const time = isFile && !name.endsWith("-shm") ? mtimeMs : "";
        return [name, uid, mode, size > 0 && isFile ? size : "", time, bytes].join(" ");
      });
  }

  remove(...names: readonly string[]): void {
    for (const name of names) rmSync(this.path(name), { recursive: true });
  }
}

function pick(facts: ReturnType<typeof statSync>) {
  if (!facts) throw new Error("no such file");
  return {
    uid: Number(facts.uid),
    mode: Number(facts.mode),
    size: Number(facts.size),
    mtimeMs: Number(facts.mtimeMs),
    isFile: facts.isFile(),
  };
}

/** That the doctor names these troubles and no other, each with its remedy in both languages, and ends as it should. */
export function expectTroubles({ code, checks }: Diagnosis, troubles: readonly Trouble[]): void {
  const expected = new Map(troubles.map(([id, state, remedy]) => [id, { state, remedy }]));
  const found = checks.filter(
    ({ id, state }) => (state === "fail" || state === "warn") && (expected.has(id) || !OF_MACHINE.has(id)),
  );
  expect(found.map(({ id, state, message }) => [id, state, message.en])).toEqual(
    troubles.map(([id, state]) => [id, state, expect.any(String)]),
  );
  for (const { id, remedy } of found) {
    expect(remedy?.en).toMatch(expected.get(id)?.remedy ?? /^$/);
    expect(remedy?.zh).toMatch(/\p{Script=Han}/u);
    expect(remedy?.en).not.toMatch(/\p{Script=Han}/u);
  }
  expect(checks.map(({ id }) => id)).toEqual(Array.from({ length: CHECKS.length }, (_, n) => n + 1));
  const states = checks.map(({ state }) => state);
  expect(code).toBe(states.includes("fail") ? 1 : states.includes("warn") ? 4 : 0);
}
