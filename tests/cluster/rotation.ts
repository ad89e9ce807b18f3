import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { SEALED_COLUMNS } from "../../src/store/resealing.ts";
import { SealingKey } from "../../src/store/sealing-key.ts";
import { must, randomFrom } from "../faults/fault-case.ts";
import { Harness, WX_FOREIGN } from "../support/harness.ts";
import type { Child } from "../support/child.ts";
import { ask } from "../support/process-harness.ts";
import { type ClusterHarness, type ClusterNode, tokenAt } from "./cluster-harness.ts";

const PATIENCE_MS = 60_000;
/** A command that is killed at any moment is so within so long: it takes about as long by itself. */
const COMMAND_MS = 500;
/** Moments at which a commit is killed, as the database shows them: it is writing, and it has done its work. */
const WRITING =
  "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%AS written WHERE%' AND state <> 'idle' AND pid <> pg_backend_pid()";
const isKnown = (id: string) => `SELECT 1 FROM keyring WHERE key_id = '${id}'`;
/** Within so long after a change the nodes move their key files. */
const MOVE_MS = 3200;
const KILLED = 137;
const ROTATE = ["master-key", "rotate"];

/** How often the key is changed, and which moments of kills are drawn. */
export interface RotationOptions {
  readonly rounds: number;
  readonly seed: number;
}

/** A machine with a key file of its own, and the node that runs there. */
interface Machine {
  readonly key: string;
  readonly env: Readonly<Record<string, string>>;
  node: ClusterNode;
  isUp: boolean;
}

/**
 * The master key of three nodes is changed again and again, while tokens are read and fetched, and app secrets changed.
 * In each round the command is killed in both of its steps, and a node before, in and after the change.
 *
 * @throws {Violation} where a warm read fails, a token or a secret is lost, a node does not start again or keeps an old key,
 * or anything is encrypted under one.
 */
export async function rotatedKeys(
  cluster: ClusterHarness,
  { rounds, seed }: RotationOptions,
): Promise<string> {
  const random = randomFrom(seed);
  const rotation = await Rotation.begin(cluster, random);
  const load = await Load.begin(cluster, rotation.machines);
  try {
    for (let round = 0; round < rounds; round++) await rotation.change();
  } finally {
    await load.end();
  }
  const figures = await load.check();
  await rotation.check(rounds);
  return `${rounds} changes, seed ${seed}, ${rotation.killed}; ${figures}`;
}

/** Three machines whose master key is changed. */
class Rotation {
  readonly machines: readonly Machine[];
  readonly #cluster: ClusterHarness;
  readonly #random: () => number;
  readonly #services: Child[];
  #commits = 0;
  #nodes = 0;
  #commands = 0;
  /** Commits that were killed when they had done their work, and before. */
  #done = 0;
  #undone = 0;

  private constructor(cluster: ClusterHarness, random: () => number, machines: readonly Machine[]) {
    this.#cluster = cluster;
    this.#random = random;
    this.machines = machines;
    this.#services = machines.map(({ node }) => node.service);
  }

  static async begin(cluster: ClusterHarness, random: () => number): Promise<Rotation> {
    // The first start makes the tables, and the key of administrators needs the key file that all begin with.
    const start = async (name: string): Promise<Machine> => {
      mkdirSync(join(cluster.folder, name));
      const key = join(cluster.folder, name, "master.key");
      put(join(cluster.folder, "master.key"), key);
      const env = { MASTER_KEY_FILE: key };
      const [node] = await cluster.start(1, env);
      return { key, env, node: node!, isUp: true };
    };
    const first = await start("a");
    const machines = [first, ...(await Promise.all(["b", "c"].map(start)))];
    await cluster.administer(first.node, "GET", "/v1/nodes");
    return new Rotation(cluster, random, machines);
  }

  /** How much of what was killed in its midst. */
  get killed(): string {
    const commits = `${this.#done} commits after and ${this.#undone} before their work was done`;
    return `${this.#nodes} nodes and ${this.#commands} commands killed, ${commits}`;
  }

  /** One change of the key, from its first step to the moment when every machine has the new one alone. */
  async change(): Promise<void> {
    const [a, b, c] = this.machines as [Machine, Machine, Machine];
    const next = `${a.key}.next`;
    await this.#kill("--prepare");
    if (!existsSync(next)) await this.#command(...ROTATE, "--prepare");
    const text = readFileSync(next, "utf8").trim();
    must(/^[0-9a-f]{64}$/.test(text), "half a key was written");
    const early = await this.#command(...ROTATE, "--commit");
    must(
      early.code === 1 && early.output.includes("nothing was changed"),
      `it was not refused while nodes lack the next key: ${early.output}`,
    );
    for (const { key } of [b, c]) put(next, `${key}.next`);
    await Harness.until(() => this.#haveAll(idOf(text)), PATIENCE_MS);
    await this.#killNode(b);
    const moment = [WRITING, isKnown(idOf(text)), undefined][this.#commits++ % 3];
    const isDone = async () => String(await this.#known()) === idOf(text);
    const commit = async () => {
      if (!(await this.#kill("--commit", moment))) return;
      if (await isDone()) this.#done++;
      else this.#undone++;
    };
    await Promise.all([commit(), this.#killNode(c, this.#random() * COMMAND_MS)]);
    const last = await this.#command(...ROTATE, "--commit");
    must(await isDone(), `the key was not changed: ${last.output}`);
    await Bun.sleep(this.#random() * MOVE_MS);
    await this.#killNode(this.machines[Math.floor(this.#random() * this.machines.length)]!);
    const isMoved = ({ key }: Machine) =>
      readFileSync(key, "utf8").trim() === text && !existsSync(`${key}.next`);
    await Harness.until(async () => this.machines.every(isMoved), PATIENCE_MS);
    const used = await this.#used();
    must(String(used) === idOf(text), `encrypted under ${used.join()}, and the key is ${idOf(text)}`);
  }

  /** That all of it is in the audit, and that nothing was taken for damaged. */
  async check(rounds: number): Promise<void> {
    const audit = await this.#command("audit", "verify");
    must(audit.code === 0, `the audit is not intact: ${audit.output}`);
    const [row] = await this.#cluster.query(
      "SELECT count(*)::int AS n FROM audit_entries WHERE action = 'master_key.rotated'",
    );
    must(row?.["n"] === rounds, `${String(row?.["n"])} changes are in the audit, and ${rounds} were made`);
    for (const { stdout } of this.#services) {
      const [damaged] = /.*store\.damaged.*/.exec(stdout) ?? [];
      must(damaged === undefined, `a node took something for damaged: ${damaged}`);
    }
  }

  /** A command on the first machine. */
  async #command(...args: string[]): Promise<{ readonly code: number; readonly output: string }> {
    const command = this.#begin(args);
    const code = await command.exited();
    return { code, output: command.stdout + command.stderr };
  }

  /**
   * Begins a step on the first machine, and kills it unless it ends before: when `moment` has a row, or at any moment.
   * Returns whether it was killed.
   */
  async #kill(step: string, moment?: string): Promise<boolean> {
    const { server, databaseUrl } = this.#cluster;
    await using database = server.connect(new URL(databaseUrl).pathname.slice(1));
    await database.unsafe("SELECT 1");
    const command = this.#begin([...ROTATE, step]);
    const over = new AbortController();
    const ending = command.exited().finally(() => over.abort());
    if (moment === undefined) await Bun.sleep(this.#random() * COMMAND_MS);
    else while (!over.signal.aborted && (await database.unsafe(moment)).length === 0) await Bun.sleep(1);
    command.signal("SIGKILL");
    const isKilled = (await ending) === KILLED;
    if (isKilled) this.#commands++;
    return isKilled;
  }

  #begin(args: readonly string[]): Child {
    return this.#cluster.run(args, { ...this.#cluster.variables, ...this.machines[0]!.env });
  }

  /** Kills a node, and starts another in its place. */
  async #killNode(machine: Machine, afterMs = 0): Promise<void> {
    await Bun.sleep(afterMs);
    machine.isUp = false;
    machine.node.service.signal("SIGKILL");
    await machine.node.service.exited();
    this.#nodes++;
    await this.#start(machine);
  }

  async #start(machine: Machine): Promise<void> {
    const [node] = await this.#cluster.start(1, machine.env);
    machine.node = node!;
    machine.isUp = true;
    this.#services.push(node!.service);
  }

  /** Whether every node that counts as live shows that key. */
  async #haveAll(id: string): Promise<boolean> {
    const rows = await this.#cluster.query(
      "SELECT key_ids FROM nodes WHERE seen_at > extract(epoch FROM clock_timestamp()) * 1000 - 11000",
    );
    return rows.length > 0 && rows.every((row) => String(row["key_ids"]).includes(id));
  }

  /** The ids of the keys that the database knows. */
  async #known(): Promise<string[]> {
    return (await this.#cluster.query("SELECT key_id FROM keyring")).map((row) => String(row["key_id"]));
  }

  /** The ids of the keys under which anything is encrypted. */
  async #used(): Promise<string[]> {
    const parts = SEALED_COLUMNS.map(
      ({ table, column }) => `SELECT substr(${column}, 1, 8) AS id FROM ${table} WHERE ${column} IS NOT NULL`,
    );
    return (await this.#cluster.query(parts.join(" UNION "))).map((row) => String(row["id"]));
  }
}

/** What callers and an administrator do meanwhile. */
class Load {
  readonly #cluster: ClusterHarness;
  readonly #machines: readonly Machine[];
  readonly #warm: string;
  readonly #app: string;
  /** By app, the token that was fetched last; absent while it may be another. */
  readonly #tokens = new Map<string, string>();
  readonly #over = new AbortController();
  #running: Promise<unknown> = Promise.resolve();
  #reads = 0;
  #fetches = 0;
  #secrets = 0;

  private constructor(cluster: ClusterHarness, machines: readonly Machine[], warm: string) {
    this.#cluster = cluster;
    this.#machines = machines;
    this.#app = cluster.apps[0]!;
    this.#warm = warm;
  }

  static async begin(cluster: ClusterHarness, machines: readonly Machine[]): Promise<Load> {
    const { appId: app_id, secret } = WX_FOREIGN;
    const [{ node }] = machines as [Machine];
    const made = await cluster.administer(node, "POST", "/v1/apps", { platform: "weixin", app_id, secret });
    must(made.code === 0, made.text);
    const load = new Load(cluster, machines, await tokenAt(node, cluster.apps[0]!));
    load.#running = Promise.all([
      ...machines.map((machine) => load.#read(machine)),
      ...cluster.apps.slice(1).map((app, n) => load.#fetch(app, n)),
      load.#changeSecrets(),
    ]);
    load.#running.catch(() => load.#over.abort());
    return load;
  }

  async end(): Promise<void> {
    this.#over.abort();
    await this.#running;
  }

  /** That what was acknowledged last is what every node has, also one that reads it from the database. */
  async check(): Promise<string> {
    must(this.#fetches > 0 && this.#secrets > 0, "nothing was done meanwhile");
    for (const { node } of this.#machines) {
      for (const [app, token] of this.#tokens)
        must((await tokenAt(node, app)) === token, `the token of ${app} was lost`);
      await ask(node.url, "/AccessToken/clearXcx", { appid: WX_FOREIGN.appId });
      const token = await tokenAt(node, WX_FOREIGN.appId);
      must(this.#cluster.sandbox.accepts(token), `the secret that was set last is lost: ${token}`);
    }
    return `${this.#reads} warm reads, ${this.#fetches} tokens fetched, ${this.#secrets} secrets changed`;
  }

  async #read(machine: Machine): Promise<void> {
    for (; !this.#over.signal.aborted; await Bun.sleep(10)) {
      const token = await answerOf(machine, (node) => tokenAt(node, this.#app));
      must(token === undefined || token === this.#warm, `a warm read failed: ${token}`);
      if (token !== undefined) this.#reads++;
    }
  }

  async #fetch(app: string, first: number): Promise<void> {
    for (let n = first; !this.#over.signal.aborted; n++, await Bun.sleep(50)) {
      const machine = this.#machines[n % this.#machines.length]!;
      this.#tokens.delete(app);
      await answerOf(machine, ({ url }) => ask(url, "/AccessToken/clearXcx", { appid: app }));
      const token = await answerOf(machine, (node) => tokenAt(node, app));
      // While everything is encrypted anew a change may be refused.
      if (token === undefined || token.startsWith("503 ")) continue;
      must(this.#cluster.sandbox.accepts(token), `no token was fetched: ${token}`);
      this.#tokens.set(app, token);
      this.#fetches++;
    }
  }

  async #changeSecrets(): Promise<void> {
    const { appId } = WX_FOREIGN;
    for (let n = 0; !this.#over.signal.aborted; n++, await Bun.sleep(100)) {
      const secret = randomBytes(16).toString("hex");
      this.#cluster.sandbox.changeWeixinApp(appId, { secret });
      const isSet = async () => {
        const set = (node: ClusterNode) =>
          this.#cluster.administer(node, "PATCH", `/v1/apps/${appId}`, { secret });
        const answer = await answerOf(this.#machines[n++ % this.#machines.length]!, set);
        must(!answer || [0, 503].includes(answer.code), `a secret was not changed: ${answer?.text}`);
        return answer?.code === 0;
      };
      await Harness.until(isSet, PATIENCE_MS);
      this.#secrets++;
    }
  }
}

/** What a node answers; undefined where it is not there, or was killed meanwhile. */
async function answerOf<T>(
  machine: Machine,
  request: (node: ClusterNode) => Promise<T>,
): Promise<T | undefined> {
  const { node, isUp } = machine;
  if (!isUp) return undefined;
  try {
    return await request(node);
  } catch (error) {
    if (machine.isUp && machine.node === node) throw error;
    return undefined;
  }
}

/** Puts a copy of a key where a node looks, as an operator should: whole or not at all, and for its owner alone. */
function put(from: string, to: string): void {
  copyFileSync(from, `${to}.part`);
  chmodSync(`${to}.part`, 0o600);
  renameSync(`${to}.part`, to);
}

function idOf(text: string): string {
  return new SealingKey(Buffer.from(text, "hex")).keyId;
}
