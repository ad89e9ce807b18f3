import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Child } from "../support/child.ts";
import { binary } from "../support/process-harness.ts";
import { checkToken, idlePercent, residentMb, started, stop } from "./bench-server.ts";
import { compiled } from "./compiled.ts";
import type { Effort } from "./effort.ts";
import { type Figure, median } from "./figures.ts";
import { SeededFolder } from "./seeded-folder.ts";

/** What a start costs, in turn with the smallest compiled program of the kind, and what one app costs at rest. */
export async function oneApp({ starts, idleSeconds }: Effort): Promise<Figure[]> {
  using cleanup = new DisposableStack();
  const temporary = mkdtempSync(join(tmpdir(), "accesstoken-bench-"));
  cleanup.defer(() => rmSync(temporary, { recursive: true, force: true }));
  const least = await compiled("one-route-program.ts", temporary);
  const folder = await SeededFolder.make(1, {});
  cleanup.defer(() => folder.remove());
  const read = `/AccessToken/getXcx?appid=${folder.appIds[0]}`;
  const tookMs = async (command: readonly string[], cwd: string, path?: string) => {
    const it = await started(command, cwd, path);
    if (path === read) checkToken(it);
    await stop(it.child);
    return it.tookMs;
  };
  const ways = {
    least: () => tookMs(least, temporary),
    empty: async () => {
      const empty = mkdtempSync(join(temporary, "empty-"));
      return tookMs([...binary(), "serve"], empty);
    },
    existing: () => tookMs([...binary(), "serve"], folder.path, read),
    version: () => untilExitMs([...binary(), "version"], temporary),
  };
  const names = ["least", "empty", "existing", "version"] as const;
  const of: Record<(typeof names)[number], number[]> = { least: [], empty: [], existing: [], version: [] };
  for (const name of names) await ways[name]();
  for (let run = 0; run < starts; run++) for (const name of names) of[name].push(await ways[name]());
  for (const name of names) console.error(`start, ${name}: median ${median(of[name]).toFixed(1)} ms`);
  await using child = (await started([...binary(), "serve"], folder.path, read)).child;
  const percent = await idlePercent(child.pid, idleSeconds);
  const megabytes = residentMb(child.pid);
  const ratio = (name: keyof typeof of) =>
    of[name].map((value, run) => value / (of.least[run] ?? Number.NaN));
  return [
    {
      name: "1 app: start to first answer in an empty folder / compiled one-route Elysia program",
      unit: "×",
      values: ratio("empty"),
      target: { atMost: 4 },
    },
    {
      name: "1 app: start to first token in an existing folder / the same",
      unit: "×",
      values: ratio("existing"),
      target: { atMost: 3 },
    },
    { name: "`version` / the same", unit: "×", values: ratio("version") },
    { name: "1 app: memory in RAM at rest", unit: "MB", values: [megabytes], target: { atMost: 62 } },
    { name: "1 app: processor at rest", unit: "%", values: [percent], target: { atMost: 0.5 } },
  ];
}

async function untilExitMs(command: readonly string[], cwd: string): Promise<number> {
  const startedAt = performance.now();
  await using child = new Child(command, { cwd });
  if ((await child.exited()) !== 0) throw new Error(`${command.join(" ")} failed`);
  return performance.now() - startedAt;
}
