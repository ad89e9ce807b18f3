import { SQL } from "bun";
import { afterAll, expect, test } from "bun:test";
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Where Debian has the programs of the newest PostgreSQL; undefined where it is not installed. */
function findPrograms(): string | undefined {
  const root = "/usr/lib/postgresql";
  const versions = existsSync(root)
    ? readdirSync(root)
        .map(Number)
        .toSorted((a, b) => b - a)
    : [];
  return versions.map((version) => `${root}/${version}/bin`).find((path) => existsSync(`${path}/initdb`));
}

const PROGRAMS = findPrograms();

/** Whether tests can have a server. */
export const hasPostgres = PROGRAMS !== undefined;

const isTested = process.env["NODE_ENV"] === "test";

/** `test` where there is a PostgreSQL. Elsewhere such tests are counted, and with `CI` set the lack fails. */
export const postgresTest: typeof test = hasPostgres || !isTested ? test : notRun();

function notRun(): typeof test {
  let count = 0;
  afterAll(() => console.error(`${count} tests not run: install postgresql`));
  if (process.env["CI"]) test("PostgreSQL is installed", () => expect(hasPostgres).toBe(true));
  return Object.assign((name: string) => {
    count++;
    test.skip(name, () => undefined);
  }, test) as typeof test;
}

/** A running PostgreSQL of this test process alone, on a Unix socket in a folder of its own. */
export class PostgresServer {
  static #shared: Promise<PostgresServer> | undefined;
  readonly folder: string;
  #port = 0;
  readonly #env: Readonly<Record<string, string>>;
  #process: Bun.Subprocess | undefined;
  #databases = 0;
  readonly #unused: string[] = [];
  #template: Promise<string> | undefined;

  private constructor(env: Readonly<Record<string, string>>) {
    this.#env = env;
    this.folder = mkdtempSync(join(tmpdir(), "accesstoken-pg-"));
    const owner = serverUser();
    if (owner) chownSync(this.folder, owner.uid, owner.gid);
  }

  /** The server of this process, which does not sync its files: started when it is first asked for, and stopped at the end. */
  static shared(): Promise<PostgresServer> {
    PostgresServer.#shared ??= PostgresServer.start();
    return PostgresServer.#shared;
  }

  /** A server of its own, for a test that stops it. `settings` are those of `postgresql.conf`, `env` is added to its environment. */
  static async start(
    settings: Readonly<Record<string, string>> = {},
    env: Readonly<Record<string, string>> = {},
  ): Promise<PostgresServer> {
    const server = new PostgresServer(env);
    process.on("exit", () => server.stop());
    const { folder } = server;
    run([
      "initdb",
      "-D",
      `${folder}/data`,
      "-U",
      "postgres",
      "-A",
      "trust",
      "-E",
      "UTF8",
      "--no-sync",
      "--no-locale",
    ]);
    await server.#begin(settings);
    return server;
  }

  /** Where it listens on loopback. */
  get port(): number {
    return this.#port;
  }

  /** A server that follows this one, with all that it has. */
  async standby(settings: Readonly<Record<string, string>> = {}): Promise<PostgresServer> {
    const server = new PostgresServer(this.#env);
    process.on("exit", () => server.stop());
    const from = ["-h", "127.0.0.1", "-p", String(this.port), "-U", "postgres"];
    const options = ["-R", "-X", "stream", "-c", "fast", "--no-sync"];
    run(["pg_basebackup", "-D", `${server.folder}/data`, ...from, ...options]);
    await server.#begin(settings);
    return server;
  }

  /** Of a server that follows: it takes nothing more from the other. */
  async detach(): Promise<void> {
    await using admin = this.connect("postgres");
    await admin.unsafe("ALTER SYSTEM SET primary_conninfo = ''");
    await admin.unsafe("SELECT pg_reload_conf()");
    for (;;) {
      if ((await admin.unsafe("SELECT 1 FROM pg_stat_wal_receiver")).length === 0) return;
      await Bun.sleep(20);
    }
  }

  /** Makes a server that follows lead. */
  promote(): void {
    run(["pg_ctl", "promote", "-w", "-D", `${this.folder}/data`]);
  }

  async #begin(settings: Readonly<Record<string, string>>): Promise<void> {
    // A gigabyte of its log beside as much of databases, for each process of a run, fills small disks.
    const small = { shared_buffers: "32MB", min_wal_size: "32MB", max_wal_size: "96MB" };
    const all = { fsync: "off", max_connections: "200", ...small, ...settings };
    const lines = Object.entries(all).map(([name, value]) => `${name} = '${value}'\n`);
    await Bun.write(`${this.folder}/settings.conf`, lines.join(""));
    // Only now: what took seconds before would leave the port to somebody else.
    this.#port = freePort();
    await this.resume();
  }

  /** Starts it again after `stop`. */
  async resume(): Promise<void> {
    const { folder, port } = this;
    const settings = readFileSync(`${folder}/settings.conf`, "utf8").split("\n").filter(Boolean);
    const options = settings.flatMap((line) => ["-c", line.replaceAll("'", "").replace(" = ", "=")]);
    const program = ["postgres", "-D", `${folder}/data`, "-k", folder, "-h", "127.0.0.1", "-p", String(port)];
    this.#process = Bun.spawn(asServerUser([...program, ...options], this.#env), {
      stdout: "ignore",
      stderr: Bun.file(`${folder}/log`),
    });
    for (let attempt = 1; ; attempt++) {
      await using admin = this.connect("postgres");
      // Somebody else's server may have taken the port.
      const isOurs = `SELECT 1 / (current_setting('data_directory') = '${folder}/data')::int`;
      const failure = await admin.unsafe(isOurs).then(
        () => undefined,
        (error: unknown) => error,
      );
      if (!failure) return;
      if (attempt > 200 || this.#process.exitCode !== null)
        throw new Error(`PostgreSQL does not start: ${readFileSync(`${folder}/log`, "utf8")}`, {
          cause: failure,
        });
      await Bun.sleep(50);
    }
  }

  /** Makes a database that `prepare` has given its tables once; answers with its URL. */
  async createPrepared(prepare: (url: string) => Promise<void>): Promise<string> {
    this.#template ??= this.createDatabase().then(async (url) => {
      await prepare(url);
      return new URL(url).pathname.slice(1);
    });
    return this.createDatabase(await this.#template);
  }

  /** Makes an empty database, and answers with its URL. */
  async createDatabase(template = "template0"): Promise<string> {
    const name = `test_${process.pid}_${++this.#databases}`;
    await using admin = this.connect("postgres");
    await admin.unsafe("SET statement_timeout = '10s'");
    for (const each of this.#unused.splice(0))
      await admin.unsafe(`DROP DATABASE IF EXISTS ${each} WITH (FORCE)`).catch(() => undefined);
    await admin.unsafe("RESET statement_timeout");
    await admin.unsafe(`CREATE DATABASE ${name} TEMPLATE ${template}`);
    return this.urlOf(name);
  }

  /** Has a database removed before the next is made: those of a whole run would take gigabytes. */
  drop(url: string): void {
    this.#unused.push(new URL(url).pathname.slice(1));
  }

  /** The URL of a database. */
  urlOf(database: string): string {
    return `postgres://postgres@127.0.0.1:${this.port}/${database}`;
  }

  /** A connection of its own to a database, for what a test does beside the service. */
  connect(database: string): SQL {
    return new SQL(this.urlOf(database), { max: 1, connectionTimeout: 5 });
  }

  /** Sends the server a signal: QUIT ends it as a crash would, INT orderly, STOP and CONT halt it. */
  async signal(name: "SIGQUIT" | "SIGINT"): Promise<void> {
    this.#process?.kill(name);
    await this.#process?.exited;
  }

  /** Ends it at once and removes what it kept, but says first what crashed of it: that explains whatever failed then. */
  stop(): void {
    this.#process?.kill("SIGQUIT");
    for (const line of crashesIn(`${this.folder}/log`)) console.error(`PostgreSQL: ${line}`);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function crashesIn(log: string): string[] {
  const lines = existsSync(log) ? readFileSync(log, "utf8").split("\n") : [];
  return lines.filter((line) => /PANIC|terminated by signal|No space left|out of memory/i.test(line));
}

/** PostgreSQL refuses to run as root. */
function serverUser(): { readonly name: string; readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const users = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .map((line) => line.split(":"));
  const [name = "", , uid, gid] = users.find(([user]) => user === "postgres") ?? [];
  return { name, uid: Number(uid), gid: Number(gid) };
}

/** A command as the server's user runs it, with `env` beside this process's environment. */
export function asServerUser(
  [program = "", ...rest]: readonly string[],
  env: Readonly<Record<string, string>> = {},
): string[] {
  const user = serverUser();
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const path = program.startsWith("/") ? program : `${PROGRAMS}/${program}`;
  const command = [...(variables.length > 0 ? ["env", ...variables] : []), path, ...rest];
  // It must not outlive this process, however that ends.
  if (!user) return ["setpriv", "--pdeathsig", "QUIT", ...command];
  return [
    "setpriv",
    `--reuid=${user.uid}`,
    `--regid=${user.gid}`,
    "--clear-groups",
    "--pdeathsig",
    "QUIT",
    ...command,
  ];
}

function run(command: readonly string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(asServerUser(command), { cwd: "/" });
  if (exitCode !== 0) throw new Error(stderr.toString());
}

/** A port of loopback on which nobody listens. */
export function freePort(): number {
  using server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => undefined } });
  return server.port;
}
