import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { simulateDay } from "../engine/simulated-day.ts";
import { backups } from "./backups.ts";
import { type Effort, FULL, QUICK } from "./effort.ts";
import { openConsoles } from "./consoles.ts";
import { asJson, asTable, type Figure } from "./figures.ts";
import { gatewayCall, largeBodies } from "./gateway.ts";
import { manyApps } from "./many-apps.ts";
import { oneApp } from "./one-app.ts";
import { pushes, waitingDeliveries } from "./pushes.ts";
import { slowLoris } from "./slow-loris.ts";
import { coldStorm } from "./storm.ts";
import { dropInRead, warmRead } from "./warm-read.ts";
import { twoWorkers } from "./workers.ts";

/** In the order of the table. */
const PARTS: Readonly<Record<string, (effort: Effort) => Promise<Figure[]>>> = {
  warm: warmRead,
  dropin: dropInRead,
  consoles: openConsoles,
  gateway: gatewayCall,
  pushes,
  deliveries: waitingDeliveries,
  storm: coldStorm,
  apps: manyApps,
  start: oneApp,
  workers: twoWorkers,
  postgres: onPostgres(async (effort) => (await import("./on-postgres.ts")).warmReadOnPostgres(effort)),
  seen: onPostgres(async (effort) => (await import("./cluster.ts")).changesSeen(effort)),
  shared: onPostgres(async (effort) => (await import("./cluster.ts")).clusterStorm(effort)),
  changes: onPostgres(async (effort) => (await import("./cluster.ts")).auditedChangesPerSecond(effort)),
  "postgres-apps": onPostgres(async (effort) =>
    (await import("./on-postgres.ts")).manyAppsOnPostgres(effort),
  ),
  backups,
  loris: slowLoris,
  bodies: largeBodies,
  day: simulatedDay,
};

const USAGE = `Usage: bun run bench -- [--quick] [--only <part>]…

Parts: ${Object.keys(PARTS).join(", ")}. --quick shows that they work; its figures are rough.`;

/** Measures the compiled binary and prints a table; `dist/bench.json` gets every single value. */
async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      quick: { type: "boolean", default: false },
      only: { type: "string", multiple: true },
      help: { type: "boolean", default: false },
    },
  });
  const chosen = values.only ?? Object.keys(PARTS);
  if (values.help || chosen.some((name) => !(name in PARTS))) {
    console.error(USAGE);
    return 2;
  }
  const effort = values.quick ? QUICK : FULL;
  const figures: Figure[] = [];
  const failed: string[] = [];
  for (const [name, measure] of Object.entries(PARTS).filter(([part]) => chosen.includes(part))) {
    try {
      figures.push(...(await measure(effort)));
    } catch (error) {
      failed.push(name);
      console.error(`${name}:`, error);
    }
  }
  writeFileSync(join(import.meta.dir, "../../dist/bench.json"), asJson(figures, effort));
  console.log(asTable(figures));
  if (failed.length > 0) console.error(`Not measured: ${failed.join(", ")}`);
  return failed.length > 0 ? 1 : 0;
}

/** `part`, where there is a PostgreSQL; its file is read then alone, because it can't be elsewhere. */
function onPostgres(part: (effort: Effort) => Promise<Figure[]>): (effort: Effort) => Promise<Figure[]> {
  return (effort) => {
    if (!existsSync("/usr/lib/postgresql")) throw new Error("install postgresql");
    return part(effort);
  };
}

/** Upstream token calls of one app in a day, on a simulated clock. */
async function simulatedDay(): Promise<Figure[]> {
  const { calls, faults } = await simulateDay();
  if (faults.length > 0) throw new Error(`the simulated day went wrong: ${faults.join(", ")}`);
  const figure = (mode: keyof typeof calls, atMost: number): Figure => ({
    name: `upstream calls an app and day, ${mode}`,
    unit: "calls",
    values: [calls[mode]],
    target: { atMost },
  });
  return [figure("classic", 13), figure("stable", 14), figure("wecom", 12.5)];
}

// Whatever a part that failed has left behind ends with it.
process.exit(await main());
