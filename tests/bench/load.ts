/** What a burst of load measured. */
export interface LoadResult {
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** How hard and how long. */
export interface LoadOptions {
  readonly connections: number;
  readonly seconds: number;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Loads `url` with wrk, or with autocannon where wrk is missing. Throws when an answer is not HTTP 200. */
export async function load(url: string, options: LoadOptions): Promise<LoadResult> {
  return Bun.which("wrk") ? loadWithWrk(url, options) : loadWithAutocannon(url, options);
}

async function loadWithWrk(url: string, options: LoadOptions): Promise<LoadResult> {
  const { connections, seconds } = options;
  const text = await run([
    "wrk",
    "-t1",
    `-c${connections}`,
    `-d${seconds}s`,
    "--latency",
    ...headerArguments(options),
    url,
  ]);
  if (/Non-2xx|Socket errors/.test(text)) throw new Error(`wrk met errors:\n${text}`);
  const number = (pattern: RegExp) => Number(pattern.exec(text)?.[1]);
  const latency = (percentile: number) => {
    const [, value, unit] = new RegExp(`${percentile}%\\s+([\\d.]+)(us|ms|s)`).exec(text) ?? [];
    return Number(value) * (unit === "us" ? 0.001 : unit === "s" ? 1000 : 1);
  };
  return { requestsPerSecond: number(/Requests\/sec:\s+([\d.]+)/), p50Ms: latency(50), p99Ms: latency(99) };
}

async function loadWithAutocannon(url: string, options: LoadOptions): Promise<LoadResult> {
  const { connections, seconds } = options;
  const text = await run([
    "bunx",
    "autocannon",
    "--json",
    "-c",
    `${connections}`,
    "-d",
    `${seconds}`,
    ...headerArguments(options),
    url,
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

function headerArguments({ headers = {} }: LoadOptions): string[] {
  return Object.entries(headers).flatMap(([name, value]) => ["-H", `${name}: ${value}`]);
}

async function run(command: string[]): Promise<string> {
  const process = Bun.spawn(command, { stdout: "pipe", stderr: "pipe" });
  const [text, exitCode] = await Promise.all([new Response(process.stdout).text(), process.exited]);
  if (exitCode !== 0) throw new Error(`${command[0]} ended with ${exitCode}`);
  return text;
}
