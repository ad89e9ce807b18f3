import { appendFileSync } from "node:fs";
import { PostgresServer } from "../support/postgres-server.ts";
import { binary } from "../support/process-harness.ts";
import { residentMb, SETTLE_MS, stop } from "./bench-server.ts";
import type { Effort } from "./effort.ts";
import type { Figure } from "./figures.ts";
import { startKeyedService } from "./keyed-service.ts";
import { loadInTurn, ratios } from "./load.ts";
import { folderOf, MANY, readOf, startedIn, WARM } from "./many-apps.ts";
import type { SeededFolder } from "./seeded-folder.ts";

/** A PostgreSQL as it is installed: what is committed is on the disk. */
export function startServer(): Promise<PostgresServer> {
  return PostgresServer.start({ fsync: "on" });
}

/** A warm token read of a service on PostgreSQL, in turn with one on SQLite: neither asks its database. */
export async function warmReadOnPostgres(effort: Effort): Promise<Figure[]> {
  const server = await startServer();
  await using onPostgres = await startKeyedService({ prepare: (folder) => moveTo(server, folder) });
  await using onSqlite = await startKeyedService();
  const targets = { postgres: onPostgres.read, sqlite: onSqlite.read };
  const of = await loadInTurn("warm read", targets, effort);
  return [
    {
      name: "warm getXcx with a key, on PostgreSQL / on SQLite",
      unit: "×",
      values: ratios(of.postgres, of.sqlite, "requestsPerSecond"),
      target: { atLeast: 0.95 },
    },
    {
      name: "the same: p99",
      unit: "×",
      values: ratios(of.postgres, of.sqlite, "p99Ms"),
    },
  ];
}

/** What 100,000 apps cost whose tokens are in PostgreSQL: at the start, and in memory. */
export async function manyAppsOnPostgres({ starts }: Effort): Promise<Figure[]> {
  const server = await startServer();
  using cleanup = new DisposableStack();
  const folder = await folderOf(MANY);
  cleanup.defer(() => folder.remove());
  // As the manual says: what a first start has to bring up to date is done then.
  await stop((await startedIn(folder)).child);
  await moveTo(server, folder);
  const startMs: number[] = [];
  for (let run = 0; run < Math.min(starts, 5); run++) {
    const { child, tookMs } = await startedIn(folder);
    startMs.push(tookMs);
    await stop(child);
  }
  await using service = (await startedIn(folder)).child;
  const base = await service.serviceUrl();
  for (const appId of folder.appIds.slice(0, WARM)) await (await fetch(readOf(base, appId))).arrayBuffer();
  await Bun.sleep(SETTLE_MS);
  return [
    {
      name: "100,000 apps on PostgreSQL: start to first token",
      unit: "ms",
      values: startMs,
      target: { atMost: 3000 },
    },
    {
      name: "100,000 apps on PostgreSQL: memory in RAM",
      unit: "MB",
      values: [residentMb(service.pid)],
      target: { atMost: 220 },
    },
  ];
}

/** Copies a folder's database, as an operator does; a service that is started in it then is on PostgreSQL. */
async function moveTo(server: PostgresServer, { path }: SeededFolder): Promise<void> {
  const url = await server.createDatabase();
  const command = [...binary(), "store", "copy", "--from", "data/accesstoken.db", "--to", url];
  const copying = Bun.spawn(command, { cwd: path, env: {}, stdout: "ignore", stderr: "pipe" });
  if ((await copying.exited) !== 0) throw new Error(await new Response(copying.stderr).text());
  appendFileSync(`${path}/.env`, `\nDATABASE_URL=${url}\nMASTER_KEY_FILE=data/master.key\n`);
}
