import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseExposition } from "../ops/prometheus-text.ts";

/** Where the files are that operators copy. */
export const DEPLOY = join(import.meta.dir, "../../deploy");
export const RULES = join(DEPLOY, "prometheus/accesstoken.rules.yml");

/** One alert of the file. */
interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/** The alerts of the file, in its order. */
export async function readRules(): Promise<readonly Rule[]> {
  const { groups } = Bun.YAML.parse(await Bun.file(RULES).text()) as { groups: { rules: Rule[] }[] };
  return groups.flatMap(({ rules }) => rules);
}

/** Runs Prometheus' own checker. Resolves with what it says and whether it is content. */
export async function promtool(...args: readonly string[]): Promise<{ isOk: boolean; said: string }> {
  const child = Bun.spawn(["promtool", ...args], { stdout: "pipe", stderr: "pipe" });
  const said = await Promise.all([child.stdout, child.stderr].map((each) => new Response(each).text()));
  return { isOk: (await child.exited) === 0, said: said.join("") };
}

/** What a Prometheus sees, minute by minute, and which alerts must fire then. */
export interface Scenario {
  readonly name: string;
  /** What `/metrics` of a service answered from that minute on; `now`: its clock at minute 0, in seconds. */
  readonly scrapes: readonly { readonly minute: number; readonly text: string }[];
  readonly now: number;
  /** Whether the service answers, in promtool's notation; default always. */
  readonly up?: string;
  /** Series with other values, in promtool's notation, by how they stand in the text: each must be in it. */
  readonly changed?: Readonly<Record<string, string>>;
  /** Series that a service on SQLite has not. */
  readonly added?: Readonly<Record<string, string>>;
  readonly fires: readonly { readonly minute: number; readonly alerts: readonly string[] }[];
}

const JOB = 'job="accesstoken",instance="token.example.com"';

/** Has promtool run the scenarios against the file's rules: what it says against them; empty when they hold. */
export async function runScenarios(scenarios: readonly Scenario[], folder: string): Promise<string> {
  const path = join(folder, "scenarios.yml");
  const tests = scenarios.map(({ name, fires, ...scenario }) => ({
    name,
    interval: "1m",
    input_series: seriesOf(scenario, Math.max(...fires.map(({ minute }) => minute))),
    promql_expr_test: fires.map(({ minute, alerts }) => ({
      expr: 'max by (alertname) (ALERTS{alertstate="firing"})',
      eval_time: `${minute}m`,
      exp_samples: alerts.map((alert) => ({ labels: `{alertname="AccessToken${alert}"}`, value: 1 })),
    })),
  }));
  // JSON is YAML.
  writeFileSync(path, JSON.stringify({ rule_files: [RULES], evaluation_interval: "1m", tests }));
  const { isOk, said } = await promtool("test", "rules", path);
  return isOk ? "" : said;
}

function seriesOf(
  { scrapes, now, up, changed = {}, added = {} }: Omit<Scenario, "name" | "fires">,
  last: number,
): { series: string; values: string }[] {
  // The others decide nothing.
  const asked = new Set(readFileSync(RULES, "utf8").match(/accesstoken_\w+/g));
  const byKey = new Map<string, (number | undefined)[]>();
  for (const [n, { minute, text }] of scrapes.entries()) {
    const end = scrapes[n + 1]?.minute ?? last + 1;
    for (const { name, labels, value } of parseExposition(text).series) {
      if (!asked.has(name)) continue;
      const key = keyOf(name, labels);
      const values = byKey.get(key) ?? [];
      byKey.set(key, values);
      // Promtool's time begins at 0.
      const isInstant = name.endsWith("_timestamp_seconds") && value !== 0;
      for (let at = minute; at < end; at++) values[at] = isInstant ? value - now : value;
    }
  }
  for (const key of Object.keys(changed)) if (!byKey.has(key)) throw new Error(`/metrics has no ${key}`);
  return [
    { series: `up{${JOB}}`, values: up ?? `1+0x${last}` },
    ...[...byKey].map(([key, values]) => ({
      series: withJob(key),
      values: changed[key] ?? valuesOf(values, last),
    })),
    ...Object.entries(added).map(([key, values]) => ({ series: withJob(key), values })),
  ];
}

function keyOf(name: string, labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  return pairs.length > 0 ? `${name}{${pairs.join(",")}}` : name;
}

function withJob(key: string): string {
  return key.endsWith("}") ? `${key.slice(0, -1)},${JOB}}` : `${key}{${JOB}}`;
}

/** Equal values in a row are written once. */
function valuesOf(values: readonly (number | undefined)[], last: number): string {
  const runs: { value: number | undefined; times: number }[] = [];
  for (let at = 0; at <= last; at++) {
    const run = runs.at(-1);
    if (run && run.value === values[at]) run.times += 1;
    else runs.push({ value: values[at], times: 1 });
  }
  return runs
    .map(({ value, times }) => (value === undefined ? `_x${times}` : `${value}+0x${times - 1}`))
    .join(" ");
}
