import { benchServer, residentMb, urlOf } from "./bench-server.ts";
import type { Effort } from "./effort.ts";
import type { Figure } from "./figures.ts";
import { startKeyedService } from "./keyed-service.ts";
import { loadInTurn, ratios } from "./load.ts";
import { startForwardingNginx } from "./nginx.ts";

const MB = 1024 * 1024;
const LARGE_BYTES = 100 * MB;
const WARM_UP_BYTES = 32 * MB;
const CALL = "/cgi-bin/user/info?openid=o0000000000000000000000000001";

/**
 * A call of 1 KB through the gateway, in turn with a server that only fetches, and with nginx where it is installed,
 * before the same upstream.
 */
export async function gatewayCall(effort: Effort): Promise<Figure[]> {
  await using server = benchServer("upstream-server.ts");
  const upstream = await urlOf(server);
  await using it = await startKeyedService({ env: { WEIXIN_BASE_URL: upstream } });
  await using fetching = benchServer("fetching-server.ts", upstream);
  await using nginx = await startForwardingNginx(upstream, it.folder);
  if (!nginx) console.error("gateway: nginx is not installed, so nothing is compared with it");
  const withToken = `${CALL}&access_token=${"t".repeat(136)}`;
  const targets = {
    ours: { ...it.read, url: `${it.url}/gateway/${it.appId}${CALL}` },
    fetching: { url: (await urlOf(fetching)) + withToken },
    ...(nginx && { nginx: { url: nginx.url + withToken } }),
  };
  const of = await loadInTurn("gateway", targets, effort);
  const toFetching: Figure = {
    name: "gateway GET of 1 KB / a Bun server that only fetches and answers",
    unit: "×",
    values: ratios(of.ours, of.fetching, "requestsPerSecond"),
    target: { atLeast: 0.65 },
  };
  if (!of.nginx) return [toFetching];
  const alone = await loadInTurn("gateway, one connection", targets, { ...effort, connections: 1 });
  return [
    {
      name: "gateway GET of 1 KB / nginx proxy_pass",
      unit: "×",
      values: ratios(of.ours, of.nginx, "requestsPerSecond"),
      target: { atLeast: 0.37 },
    },
    toFetching,
    {
      name: "that Bun server / nginx proxy_pass",
      unit: "×",
      values: ratios(of.fetching, of.nginx, "requestsPerSecond"),
    },
    {
      name: "gateway GET of 1 KB at one connection: p50 beyond nginx's",
      unit: "ms",
      values: alone.ours.map(({ p50Ms }, pair) => p50Ms - (alone.nginx?.[pair]?.p50Ms ?? Number.NaN)),
      target: { atMost: 0.5 },
    },
  ];
}

/** By how much 100 MB on their way through make memory grow, once the process is warm. */
export async function largeBodies({ pairs }: Effort): Promise<Figure[]> {
  await using server = benchServer("upstream-server.ts");
  await using it = await startKeyedService({ env: { WEIXIN_BASE_URL: await urlOf(server) } });
  const { headers } = it.read;
  const base = `${it.url}/gateway/${it.appId}/cgi-bin`;
  const down = async (bytes: number) => {
    const response = await fetch(`${base}/media/get?bytes=${bytes}`, { headers });
    let size = 0;
    for await (const part of response.body ?? []) size += part.byteLength;
    if (size !== bytes) throw new Error(`${size} of ${bytes} bytes came`);
  };
  const up = async (bytes: number) => {
    const init = { method: "POST", headers: { ...headers, "content-length": String(bytes) } };
    const response = await fetch(`${base}/media/upload?type=file`, { ...init, body: streamOf(bytes) });
    const { size } = (await response.json()) as { size?: number };
    if (size !== bytes) throw new Error(`${size} of ${bytes} bytes arrived`);
  };
  const ways = { download: down, upload: up };
  const grown = { download: [] as number[], upload: [] as number[] };
  for (const move of Object.values(ways)) await move(WARM_UP_BYTES);
  for (let pair = 0; pair < pairs; pair++) {
    for (const way of ["download", "upload"] as const) {
      grown[way].push(await growthDuring(it.child.pid, () => ways[way](LARGE_BYTES)));
    }
  }
  return (["download", "upload"] as const).map((way) => ({
    name: `gateway ${way} of 100 MB: memory grown at most`,
    unit: "MB",
    values: grown[way],
    target: { atMost: 30 },
  }));
}

async function growthDuring(pid: number, work: () => Promise<void>): Promise<number> {
  const before = residentMb(pid);
  let most = before;
  const timer = setInterval(() => (most = Math.max(most, residentMb(pid))), 5);
  await work();
  clearInterval(timer);
  return most - before;
}

function streamOf(bytes: number): ReadableStream<Uint8Array> {
  let left = bytes;
  return new ReadableStream<Uint8Array>(
    {
      pull: (controller) => {
        controller.enqueue(new Uint8Array(Math.min(left, 64 * 1024)));
        left -= 64 * 1024;
        if (left <= 0) controller.close();
      },
    },
    { highWaterMark: 0 },
  );
}
