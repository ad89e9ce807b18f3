import { Database } from "bun:sqlite";
import { join } from "node:path";
import type { Child } from "../support/child.ts";
import { ask, binary, ProcessHarness } from "../support/process-harness.ts";
import { WorkerProcesses } from "../support/worker-processes.ts";
import { type Answer, Harness } from "../support/harness.ts";

/** What a test may set about the workers. */
export interface WorkersWorldOptions {
  readonly workers?: number;
  /** How many WeChat apps there are: `wx0000000000000000`, `wx0000000000000001`, …; default 1. */
  readonly apps?: number;
  readonly env?: Record<string, string>;
  readonly tokenLifeSeconds?: number;
}

/**
 * The compiled program with several workers, all of which answer.
 *
 * Use it with `await using`: nothing of it is left when the test is over.
 */
export class WorkersHarness {
  readonly world: ProcessHarness;
  readonly service: Child;
  readonly url: string;
  readonly processes: WorkerProcesses;

  private constructor(world: ProcessHarness, service: Child, url: string) {
    this.world = world;
    this.service = service;
    this.url = url;
    this.processes = new WorkerProcesses(service);
  }

  static async start({
    workers = 2,
    apps = 1,
    env = {},
    ...sandbox
  }: WorkersWorldOptions = {}): Promise<WorkersHarness> {
    const weixinApps = Array.from({ length: apps }, (_, n) => ({
      appId: `wx${String(n).padStart(16, "0")}`,
      secret: `secret-of-${n}`,
    }));
    const world = new ProcessHarness(binary(), { weixinApps, ...sandbox });
    const secrets = weixinApps.map(({ appId, secret }) => [`WEIXIN_SECRET_${appId}`, secret] as const);
    const variables = { ...Object.fromEntries(secrets), ...env };
    const { service, url } = await world.serve(variables, ["--workers", String(workers)]);
    const at = new WorkersHarness(world, service, url);
    try {
      await at.started(workers);
    } catch (error) {
      await at[Symbol.asyncDispose]();
      throw error;
    }
    at.processes.running();
    return at;
  }

  get sandbox(): ProcessHarness["sandbox"] {
    return this.world.sandbox;
  }

  /** Resolves when so many workers in all have said that they listen. */
  async started(count: number): Promise<void> {
    await this.service.find(new RegExp(`(?:"event":"service\\.started"[^]*){${count}}`));
  }

  /** Asks over a connection of its own, which the system gives to any of the workers. */
  get(appid = "wx0000000000000000"): Promise<Answer> {
    return ask(this.url, "/AccessToken/getXcx", { appid });
  }

  /** So many of `get` at once; their tokens. Throws when one is refused. */
  async tokens(count: number, appid = "wx0000000000000000"): Promise<Set<string>> {
    const answers = await Promise.all(Array.from({ length: count }, () => this.get(appid)));
    const refused = answers.find(({ code }) => code !== 0);
    if (refused) throw new Error(`refused: ${refused.text}`);
    return new Set(answers.map(({ data }) => String(data["access_token"])));
  }

  /** Stops a worker's process for now, at a moment at which it does not hold up the others by a transaction of its own. */
  async pause(pid: number | undefined): Promise<void> {
    using database = new Database(join(this.world.folder, "data", "accesstoken.db"));
    await Harness.until(() => {
      this.processes.signal(pid, "SIGSTOP");
      if (isWritable(database)) return true;
      this.processes.signal(pid, "SIGCONT");
      return false;
    });
  }

  /** Resolves when no worker that was ever seen is left. */
  async allEnded(): Promise<void> {
    await Harness.until(() => this.processes.left().length === 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.processes[Symbol.asyncDispose]();
    await this.world[Symbol.asyncDispose]();
  }
}

function isWritable(database: Database): boolean {
  try {
    database.run("BEGIN IMMEDIATE");
  } catch {
    return false;
  }
  database.run("ROLLBACK");
  return true;
}
