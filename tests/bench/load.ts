/** What a burst of load measured. */
export interface LoadResult {
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** What is loaded. */
export interface Target {
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Gives a script in Lua for each burst, which needs wrk. */
  readonly script?: () => string;
}

/** How hard and how long. */
export interface LoadOptions {
  readonly seconds: number;
  /** Default 32. */
  readonly connections?: number;
}

/**
 * Loads several servers in turn, `pairs` times after once to warm up, so that what else the machine does falls on all
 * of them alike.
 */
export async function loadInTurn<T extends Readonly<Record<string, Target>>>(
  what: string,
  targets: T,
  { pairs, ...options }: LoadOptions & { readonly pairs: number },
): Promise<{ [N in keyof T]: LoadResult[] }> {
  const results = Object.entries<Target>(targets).map(([name, target]) => {
    const of: LoadResult[] = [];
    return { name, target, of };
  });
  for (const { target } of results) await load(target, options);
  for (let pair = 0; pair < pairs; pair++) {
    const told: string[] = [];
    for (const { name, target, of } of results) {
      const result = await load(target, options);
      of.push(result);
      told.push(`${name} ${Math.round(result.requestsPerSecond)} (p99 ${result.p99Ms.toFixed(2)} ms)`);
    }
    console.error(`${what}: ${told.join(", ")} requests/s`);
  }
  return Object.fromEntries(results.map(({ name, of }) => [name, of])) as { [N in keyof T]: LoadResult[] };
}

/** What one server measured by what another measured in the same turn. */
export function ratios(
  of: readonly LoadResult[],
  to: readonly LoadResult[],
  figure: keyof LoadResult,
): number[] {
  return of.map((result, pair) => result[figure] / (to[pair]?.[figure] ?? Number.NaN));
}

/** Loads a server with wrk, or with autocannon where wrk is missing. Throws when an answer is not HTTP 200. */
export async function load(target: Target, options: LoadOptions): Promise<LoadResult> {
  return Bun.which("wrk") ? loadWithWrk(target, options) : loadWithAutocannon(target, options);
}

async function loadWithWrk(target: Target, options: LoadOptions): Promise<LoadResult> {
  const { seconds, connections = 32 } = options;
  const text = await run([
    "wrk",
    "-t1",
    `-c${connections}`,
    `-d${seconds}s`,
    "--latency",
    ...(target.script ? ["-s", target.script()] : []),
    ...headerArguments(target),
    target.url,
  ]);
  if (/Non-2xx|Socket errors/.test(text)) throw new Error(`wrk met errors:\n${text}`);
  const number = (pattern: RegExp) => Number(pattern.exec(text)?.[1]);
  const latency = (percentile: number) => {
    const [, value, unit] = new RegExp(`${percentile}%\\s+([\\d.]+)(us|ms|s)`).exec(text) ?? [];
    return Number(value) * (unit === "us" ? 0.001 : unit === "s" ? 1000 : 1);
  };
  return { requestsPerSecond: number(/Requests\/sec:\s+([\d.]+)/), p50Ms: latency(50), p99Ms: latency(99) };
}

async function loadWithAutocannon(target: Target, options: LoadOptions): Promise<LoadResult> {
  const { seconds, connections = 32 } = options;
  const text = await run([
    "bunx",
    "autocannon",
    "--json",
    "-c",
    `${connections}`,
    "-d",
    `${seconds}`,
    ...headerArguments(target),
    target.url,
  ]);
  const result = JSON.parse(text) as {
    requests: { average: number };
    latency: { p50: number; p99: number };
    non2xx: number;
    errors: number;
  };
  if (result.non2xx > 0 || result.errors > 0) throw new Error("autocannon met errors");
  return {
    requestsPerSecond: result.requests.average,
    p50Ms: result.latency.p50,
    p99Ms: result.latency.p99,
  };
}

function headerArguments({ headers = {} }: Target): string[] {
  return Object.entries(headers).flatMap(([name, value]) => ["-H", `${name}: ${value}`]);
}

async function run(command: string[]): Promise<string> {
  const process = Bun.spawn(command, { stdout: "pipe", stderr: "pipe" });
  const [text, exitCode] = await Promise.all([new Response(process.stdout).text(), process.exited]);
  if (exitCode !== 0) throw new Error(`${command[0]} ended with ${exitCode}`);
  return text;
}
