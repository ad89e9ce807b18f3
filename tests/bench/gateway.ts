import { Child } from "../support/child.ts";
import { binary } from "../support/process-harness.ts";
import { benchServer, residentMb, urlOf } from "./bench-server.ts";
import type { Figure } from "./figures.ts";
import { keyOfNewClient } from "./keyed-client.ts";
import { load, type LoadOptions } from "./load.ts";
import { startNginx } from "./nginx.ts";
import { SeededFolder } from "./seeded-folder.ts";

const PAIRS = 5;
const LOAD: LoadOptions = { connections: 32, seconds: 3 };
const MB = 1024 * 1024;
const LARGE_BYTES = 100 * MB;
const WARM_UP_BYTES = 32 * MB;

/** A service in front of a server that looks like WeChat, and a key that may call everything. */
interface Harness extends AsyncDisposable {
  readonly folder: SeededFolder;
  readonly appId: string;
  readonly key: string;
  readonly upstream: string;
  readonly service: Child;
  readonly url: string;
}

async function setup(): Promise<Harness> {
  const folder = await SeededFolder.make(1, { PORT: "0" });
  const [appId = ""] = folder.appIds;
  const key = await keyOfNewClient(folder.path, appId);
  const server = benchServer("upstream-server.ts", "", folder.path);
  const upstream = await urlOf(server);
  const service = new Child([...binary(), "serve"], {
    cwd: folder.path,
    env: { WEIXIN_BASE_URL: upstream },
  });
  const url = await service.serviceUrl();
  const dispose = async () => {
    await service[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
    folder.remove();
  };
  return { folder, appId, key, upstream, service, url, [Symbol.asyncDispose]: dispose };
}

/** Everything that is measured of the gateway and of the endpoints shaped as WeChat's. */
export async function gatewayFigures(): Promise<Figure[]> {
  return [...(await againstNginx()), ...(await largeBodies()), ...(await dropInRead())];
}

/** A call of 1 KB through the gateway, in turn with nginx in front of the same upstream. */
async function againstNginx(): Promise<Figure[]> {
  await using it = await setup();
  await using nginx = await startNginx(it.upstream, it.folder.path);
  if (!nginx) {
    console.error("gateway: nginx is not installed, so the gateway is not compared with it");
    return [];
  }
  const path = "/cgi-bin/user/info?openid=o0000000000000000000000000001";
  const headers = { authorization: `Bearer ${it.key}` };
  const ours = `${it.url}/gateway/${it.appId}${path}`;
  const theirs = `${nginx.url}${path}&access_token=${"t".repeat(136)}`;
  const measure = async (url: string, connections: number) =>
    load(url, { ...LOAD, connections, ...(url === ours ? { headers } : {}) });
  for (const url of [ours, theirs]) await measure(url, LOAD.connections);
  const throughput: number[] = [];
  const addedMs: number[] = [];
  for (let pair = 0; pair < PAIRS; pair++) {
    const [our, their] = [await measure(ours, LOAD.connections), await measure(theirs, LOAD.connections)];
    console.error(
      `gateway: ${Math.round(our.requestsPerSecond)} against ${Math.round(their.requestsPerSecond)} requests/s`,
    );
    throughput.push(our.requestsPerSecond / their.requestsPerSecond);
    const [alone, theirsAlone] = [await measure(ours, 1), await measure(theirs, 1)];
    addedMs.push(alone.p50Ms - theirsAlone.p50Ms);
  }
  return [
    {
      name: "gateway GET of 1 KB, throughput against nginx",
      unit: "×",
      values: throughput,
      target: { atLeast: 0.5 },
    },
    {
      name: "gateway GET of 1 KB, p50 added to that of nginx at one connection",
      unit: "ms",
      values: addedMs,
      target: { atMost: 0.5 },
    },
  ];
}

/** By how much 100 MB on their way through make memory grow, once the process is warm. */
async function largeBodies(): Promise<Figure[]> {
  await using it = await setup();
  const headers = { authorization: `Bearer ${it.key}` };
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
  for (let pair = 0; pair < PAIRS; pair++) {
    for (const way of ["download", "upload"] as const) {
      grown[way].push(await growthDuring(it.service.pid, () => ways[way](LARGE_BYTES)));
    }
  }
  return (["download", "upload"] as const).map((way) => ({
    name: `gateway ${way} of 100 MB, memory grown at most`,
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

/** A warm token read as WeChat has it, with a key in the place of the secret, in turn with a bare server. */
async function dropInRead(): Promise<Figure[]> {
  await using it = await setup();
  const query = new URLSearchParams({ grant_type: "client_credential", appid: it.appId, secret: it.key });
  const ours = `${it.url}/cgi-bin/token?${query.toString()}`;
  const text = await (await fetch(ours)).text();
  if (!text.includes('"access_token"')) throw new Error(`no token came: ${text.slice(0, 200)}`);
  await using bare = benchServer("bare-server.ts", String(text.length), it.folder.path);
  const theirs = await urlOf(bare);
  for (const url of [ours, theirs]) await load(url, LOAD);
  const values: number[] = [];
  for (let pair = 0; pair < PAIRS; pair++) {
    const [our, their] = [await load(ours, LOAD), await load(theirs, LOAD)];
    console.error(
      `drop-in token: ${Math.round(our.requestsPerSecond)} against ${Math.round(their.requestsPerSecond)} requests/s`,
    );
    values.push(our.requestsPerSecond / their.requestsPerSecond);
  }
  const name = "warm drop-in token with a key, throughput against a bare server";
  return [{ name, unit: "×", values, target: { atLeast: 0.85 } }];
}
