import { readFileSync, rmSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { simulateDay } from "../engine/simulated-day.ts";
import { Child } from "../support/child.ts";
import { binary } from "../support/process-harness.ts";
import { benchServer, freePort, residentMb, urlOf } from "./bench-server.ts";
import { asJson, asTable, type Figure, median } from "./figures.ts";
import { gatewayFigures } from "./gateway.ts";
import { keyOfNewClient } from "./keyed-client.ts";
import { load, type LoadOptions } from "./load.ts";
import { SeededFolder } from "./seeded-folder.ts";
import { slowLoris } from "./slow-loris.ts";
import { stormOfCallers } from "./storm.ts";

const PAIRS = 5;
const LOAD: LoadOptions = { connections: 32, seconds: 3 };
const APPS = [1, 1000, 100_000];
const REST_SECONDS = 20;

/** Measures the compiled binary and prints a table; `dist/bench.json` gets every single value. */
async function main(): Promise<void> {
  const figures = [
    ...(await warmRead()),
    ...(await gatewayFigures()),
    ...(await slowLoris()),
    ...(await coldStorm()),
    ...(await manyApps()),
    ...(await coldStart()),
    ...(await simulatedDay()),
  ];
  writeFileSync(join(import.meta.dir, "../../dist/bench.json"), asJson(figures));
  console.log(asTable(figures));
}

/**
 * A warm token read, with a client's key, its rate limit and the count for the audit, in turn with a server that only
 * sends as many bytes, and with one that also reads what must be read of a request.
 */
async function warmRead(): Promise<Figure[]> {
  const folder = await SeededFolder.make(1, { PORT: "0" });
  const [appId = ""] = folder.appIds;
  const headers = { authorization: `Bearer ${await keyOfNewClient(folder.path, appId)}` };
  await using service = new Child([...binary(), "serve"], { cwd: folder.path });
  const url = `${await service.serviceUrl()}/AccessToken/getXcx?appid=${appId}`;
  const size = (await (await fetch(url, { headers })).text()).length;
  await using bare = benchServer("bare-server.ts", String(size), folder.path);
  await using reading = benchServer("reading-server.ts", String(size), folder.path);
  const urls = { ours: url, bare: await urlOf(bare), reading: await urlOf(reading) };
  const measure = async (of: keyof typeof urls) => load(urls[of], { ...LOAD, headers });
  for (const of of ["ours", "bare", "reading"] as const) await measure(of);
  const throughput: number[] = [];
  const p99: number[] = [];
  const possible: number[] = [];
  for (let pair = 0; pair < PAIRS; pair++) {
    const [ours, theirs, readings] = [await measure("ours"), await measure("bare"), await measure("reading")];
    console.error(
      `warm read: ${Math.round(ours.requestsPerSecond)} against ${Math.round(theirs.requestsPerSecond)} requests/s`,
    );
    throughput.push(ours.requestsPerSecond / theirs.requestsPerSecond);
    p99.push(ours.p99Ms / theirs.p99Ms);
    possible.push(readings.requestsPerSecond / theirs.requestsPerSecond);
  }
  folder.remove();
  return [
    {
      name: "warm read with a key, throughput against a bare server",
      unit: "×",
      values: throughput,
      target: { atLeast: 0.85 },
    },
    {
      name: "warm read with a key, p99 against a bare server",
      unit: "×",
      values: p99,
      target: { atMost: 2 },
    },
    {
      name: "a server that reads the request and does nothing else, throughput against a bare one",
      unit: "×",
      values: possible,
      target: { atLeast: 0.85 },
    },
  ];
}

/** Ten thousand callers at once who find no token, while WeChat takes 100 ms. */
async function coldStorm(): Promise<Figure[]> {
  const lastMs: number[] = [];
  const calls: number[] = [];
  for (let run = 0; run < 3; run++) {
    const outcome = await stormOfCallers(10_000, 100);
    lastMs.push(outcome.lastAnswerMs);
    calls.push(outcome.upstreamCalls);
  }
  return [
    { name: "cold storm of 10,000, upstream calls", unit: "calls", values: calls, target: { atMost: 1 } },
    { name: "cold storm of 10,000, last answer", unit: "ms", values: lastMs, target: { atMost: 600 } },
  ];
}

/** The same read with 1, 1,000 and 100,000 apps; and what they cost in memory, at the start and at rest. */
async function manyApps(): Promise<Figure[]> {
  const throughput = new Map<number, number[]>(APPS.map((count) => [count, []]));
  const figures: Figure[] = [];
  const folders = new Map<number, SeededFolder>();
  for (const count of APPS)
    folders.set(count, await SeededFolder.make(count, { PORT: "0", ANONYMOUS_RATE_LIMIT: "0" }));
  const services = new Map<number, { child: Child; urls: string[] }>();
  for (const [count, folder] of folders) {
    const startMs: number[] = [];
    for (let run = 0; run < 3; run++) {
      const { child, tookMs } = await startedIn(folder);
      startMs.push(tookMs);
      if (run < 2) await child[Symbol.asyncDispose]();
      else {
        const base = await child.serviceUrl();
        const urls = folder.appIds.slice(0, 2000).map((id) => `${base}/AccessToken/getXcx?appid=${id}`);
        for (const url of urls) await (await fetch(url)).arrayBuffer();
        services.set(count, { child, urls });
      }
    }
    figures.push({
      name: `start to first answer, ${count} apps`,
      unit: "ms",
      values: startMs,
      target: { atMost: 1000 },
    });
  }
  for (let pair = 0; pair < PAIRS; pair++) {
    for (const [count, { urls }] of services) {
      const url = urls[(pair * 97) % urls.length] ?? "";
      throughput.get(count)?.push((await load(url, LOAD)).requestsPerSecond);
    }
  }
  const ones = throughput.get(1) ?? [];
  for (const count of APPS.slice(1)) {
    const ratios = (throughput.get(count) ?? []).map((value, pair) => value / (ones[pair] ?? Number.NaN));
    figures.push({
      name: `warm throughput, ${count} apps against 1`,
      unit: "×",
      values: ratios,
      target: { atLeast: 0.9 },
    });
  }
  for (const [count, { child }] of services) {
    const { pid } = child;
    figures.push({
      name: `memory in RAM, ${count} apps`,
      unit: "MB",
      values: [residentMb(pid)],
      target: { atMost: 200 },
    });
    const before = cpuSeconds(pid);
    await Bun.sleep(REST_SECONDS * 1000);
    const share = ((cpuSeconds(pid) - before) / REST_SECONDS) * 100;
    figures.push({
      name: `processor at rest, ${count} apps`,
      unit: "%",
      values: [share],
      target: { atMost: 1 },
    });
    await child[Symbol.asyncDispose]();
  }
  for (const folder of folders.values()) folder.remove();
  return figures;
}

/** From the start of the process to its first answer in an empty folder, and what it then holds. */
async function coldStart(): Promise<Figure[]> {
  const startMs: number[] = [];
  const idleMb: number[] = [];
  for (let run = 0; run < 10; run++) {
    const folder = mkdtempSync(join(tmpdir(), "accesstoken-bench-"));
    const { child, tookMs } = await started(folder);
    startMs.push(tookMs);
    idleMb.push(residentMb(child.pid));
    await child[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  }
  console.error(`cold start: median ${median(startMs).toFixed(1)} ms`);
  return [
    { name: "start to first answer, empty folder", unit: "ms", values: startMs, target: { atMost: 60 } },
    { name: "memory in RAM at rest", unit: "MB", values: idleMb, target: { atMost: 60 } },
  ];
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

function startedIn(folder: SeededFolder): Promise<{ child: Child; tookMs: number }> {
  return started(folder.path, folder.appIds[0]);
}

/** Starts the service on a port of its own and asks until it answers. */
async function started(cwd: string, appId?: string): Promise<{ child: Child; tookMs: number }> {
  const port = freePort();
  const path = appId ? `/AccessToken/getXcx?appid=${appId}` : "/";
  const startedAt = performance.now();
  const child = new Child([...binary(), "serve"], { cwd, env: { PORT: String(port) } });
  for (;;) {
    try {
      const response = await fetch(`http://127.0.0.1:${port}${path}`, { keepalive: false });
      await response.arrayBuffer();
      return { child, tookMs: performance.now() - startedAt };
    } catch {
      if (performance.now() - startedAt > 20_000) throw new Error("the service does not answer");
      await Bun.sleep(1);
    }
  }
}

function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

await main();
