import { binary } from "../support/process-harness.ts";
import { checkToken, idlePercent, residentMb, type Started, started, stop } from "./bench-server.ts";
import type { Effort } from "./effort.ts";
import type { Figure } from "./figures.ts";
import { loadInTurn, ratios } from "./load.ts";
import { SeededFolder } from "./seeded-folder.ts";

export const MANY = 100_000;
/** How many tokens are read before memory and throughput are measured. */
export const WARM = 2000;

/** Pages of the list of apps as the console asks for them: by name, what no search finds, and by what the store knows of them. */
const PAGES = ["limit=200", "q=none", "sort=-last_used&limit=200", "state=blocked", "sort=expires_at"];

/** What 100,000 apps cost: at the start, in memory, at rest, in the console, and for a warm read, in turn with a service that has one app. */
export async function manyApps({ starts, ...effort }: Effort): Promise<Figure[]> {
  using cleanup = new DisposableStack();
  const [one, many] = [await folderOf(1), await folderOf(MANY)];
  for (const folder of [one, many]) cleanup.defer(() => folder.remove());
  const startMs: number[] = [];
  for (let run = 0; run < Math.min(starts, 5); run++) {
    const { child, tookMs } = await startedIn(many);
    startMs.push(tookMs);
    await stop(child);
  }
  await using ofOne = (await startedIn(one)).child;
  await using ofMany = (await startedIn(many)).child;
  const base = await ofMany.serviceUrl();
  for (const appId of many.appIds.slice(0, WARM)) await (await fetch(readOf(base, appId))).arrayBuffer();
  const targets = {
    one: { url: readOf(await ofOne.serviceUrl(), one.appIds[0]) },
    many: { url: readOf(base, many.appIds[WARM / 2]) },
  };
  // The first of these waits until the service has read what it sorts by.
  const firstMs = await pageMs(base, "sort=-last_used");
  const pagesMs: number[] = [];
  for (let run = 0; run < effort.pairs; run++)
    for (const query of PAGES) pagesMs.push(await pageMs(base, query));
  const of = await loadInTurn("warm read, 1 and 100,000 apps", targets, effort);
  const percent = await idlePercent(ofMany.pid, effort.idleSeconds);
  const megabytes = residentMb(ofMany.pid);
  return [
    { name: "100,000 apps: start to first token", unit: "ms", values: startMs, target: { atMost: 1000 } },
    {
      name: "100,000 apps: page of the console's list",
      unit: "ms",
      values: pagesMs,
      target: { atMost: 200 },
    },
    { name: "100,000 apps: its first sorted page after the start", unit: "ms", values: [firstMs] },
    { name: "100,000 apps: memory in RAM", unit: "MB", values: [megabytes], target: { atMost: 200 } },
    { name: "100,000 apps: processor at rest", unit: "%", values: [percent], target: { atMost: 1 } },
    {
      name: "100,000 apps: warm throughput / 1 app",
      unit: "×",
      values: ratios(of.many, of.one, "requestsPerSecond"),
      target: { atLeast: 0.95 },
    },
  ];
}

async function pageMs(base: string, query: string): Promise<number> {
  const startedAt = performance.now();
  const response = await fetch(`${base}/v1/apps?${query}`);
  await response.arrayBuffer();
  if (!response.ok) throw new Error(`no page came: ${response.status}`);
  return performance.now() - startedAt;
}

/** A folder for so many apps, whose callers need no key. */
export function folderOf(count: number): Promise<SeededFolder> {
  return SeededFolder.make(count, { ANONYMOUS_RATE_LIMIT: "0" });
}

/** Starts the service in a folder; it has handed out a token. */
export async function startedIn({ path, appIds }: SeededFolder): Promise<Started> {
  const it = await started([...binary(), "serve"], path, readOf("", appIds[0]));
  checkToken(it);
  return it;
}

/** A warm read. */
export function readOf(base: string, appId = ""): string {
  return `${base}/AccessToken/getXcx?appid=${appId}`;
}
