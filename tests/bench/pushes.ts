import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { keepPush } from "../../src/callbacks/kept-push.ts";
import { generatePushKey } from "../../src/callbacks/push-crypto.ts";
import { encryptedCopy, type PushCopy } from "../../src/callbacks/push-reply.ts";
import { type VerifiedPush, verifyPush } from "../../src/callbacks/verify-push.ts";
import { systemClock } from "../../src/clock.ts";
import { loadConfig } from "../../src/config.ts";
import { openLocalService } from "../../src/service.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { benchServer, freePort, residentMb, urlOf } from "./bench-server.ts";
import type { Effort } from "./effort.ts";
import type { Figure } from "./figures.ts";
import { type KeyedService, startKeyedService } from "./keyed-service.ts";
import { loadInTurn, ratios } from "./load.ts";
import type { SeededFolder } from "./seeded-folder.ts";

type Key = ReturnType<typeof generatePushKey>;

/** More than a machine like ours takes. */
const PUSHES_A_SECOND = 4000;
const WAITING = 100_000;
const AT_ONCE = 1000;
/** For how long memory is watched. */
const WATCHED_MS = 15_000;

/**
 * Verified pushes with a primary on this machine, in turn with calls of the gateway to the same server. Each push is another
 * one: it is decrypted, stored with its delivery, delivered and answered.
 */
export async function pushes(effort: Effort): Promise<Figure[]> {
  if (!Bun.which("wrk")) throw new Error("install wrk");
  await using server = benchServer("upstream-server.ts");
  const primary = await urlOf(server);
  const key = generatePushKey();
  const env = { WEIXIN_BASE_URL: primary, CALLBACK_NETWORKS: "127.0.0.0/8" };
  await using it = await startKeyedService({
    env,
    prepare: (folder) => setUp(folder, key, `${primary}/push`),
  });
  const scripts = Array.from({ length: effort.pairs + 1 }, (_, burst) =>
    writeScript(it, key, burst, PUSHES_A_SECOND * effort.seconds),
  );
  const targets = {
    pushes: { url: `${it.url}/callback/${it.appId}`, script: () => scripts.shift() ?? "" },
    gateway: { ...it.read, url: `${it.url}/gateway/${it.appId}/cgi-bin/user/info?openid=o1` },
  };
  const of = await loadInTurn("pushes", targets, effort);
  return [
    {
      name: "verified pushes with a primary on this machine / gateway GET to the same server",
      unit: "×",
      values: ratios(of.pushes, of.gateway, "requestsPerSecond"),
      target: { atLeast: 0.4 },
    },
  ];
}

/** By how much more a service holds that has 100,000 deliveries to make to a target that is away. */
export async function waitingDeliveries({ starts }: Effort): Promise<Figure[]> {
  const values: number[] = [];
  for (let turn = 0; turn < Math.min(starts, 3); turn++) {
    const key = generatePushKey();
    const mostOf = async (waiting: number): Promise<number> => {
      const url = `http://127.0.0.1:${freePort()}/push`;
      await using it = await startKeyedService({
        env: { CALLBACK_NETWORKS: "127.0.0.0/8" },
        prepare: async (folder) => {
          await setUp(folder, key, url);
          await fill(folder, key, waiting);
        },
      });
      let most = 0;
      for (let left = WATCHED_MS; left > 0; left -= 100) {
        most = Math.max(most, residentMb(it.child.pid));
        await systemClock.sleep(100);
      }
      return most;
    };
    const none = await mostOf(0);
    values.push((await mostOf(WAITING)) - none);
  }
  return [
    {
      name: "100,000 waiting deliveries: more memory in RAM at most",
      unit: "MB",
      values,
      target: { atMost: 50 },
    },
  ];
}

/** Sets the app's pushes up, with a primary that gets them as they come. */
async function setUp(folder: SeededFolder, key: Key, url: string): Promise<void> {
  const service = await openLocalService(
    loadConfig({
      ENV_FILE: join(folder.path, ".env"),
      DATABASE_URL: `file:${join(folder.path, "data", "accesstoken.db")}`,
      CALLBACK_NETWORKS: "127.0.0.0/8",
    }),
  );
  const put = async (path: string, body: object): Promise<void> => {
    const init = {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    };
    const request = new Request(`http://localhost/v1/apps/${folder.appIds[0]}/callbacks${path}`, init);
    const response = await service.handle(request);
    if (!response.ok) throw new Error(await response.text());
  };
  await put("", { token: key.token.reveal(), aes_key: key.encodingAesKey.reveal() });
  await put("/targets/prod", { environment: "prod", url, content: "original" });
  await put("/routes", { routes: [{ target: "prod", role: "primary" }] });
  await service.close();
}

function pushOf(appId: string, key: Key, id: number): PushCopy {
  const now = systemClock.now();
  const message = `<xml><ToUserName><![CDATA[gh_000000000001]]></ToUserName><FromUserName><![CDATA[oBENCH${id % 1000}]]></FromUserName><CreateTime>${Math.floor(now / 1000)}</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[how much is it?]]></Content><MsgId>${24_000_000_000_000_000n + BigInt(id)}</MsgId></xml>`;
  return encryptedCopy(
    "weixin",
    { message: Buffer.from(message), format: "xml", receiveId: appId },
    key,
    now,
  );
}

/** A script for wrk that sends each of so many pushes once. */
function writeScript({ folder, appId }: KeyedService, key: Key, burst: number, count: number): string {
  const lines: string[] = [];
  for (let n = 0; n < count; n++) {
    const { query, body } = pushOf(appId, key, burst * count + n);
    lines.push(`${query}\t${body}`);
  }
  const [pushes, script] = [join(folder, `pushes-${burst}`), join(folder, `pushes-${burst}.lua`)];
  writeFileSync(pushes, `${lines.join("\n")}\n`);
  writeFileSync(
    script,
    `local next = io.lines(${JSON.stringify(pushes)})
request = function()
  local line = next()
  if not line then wrk.thread:stop() end
  local query, body = line:match("([^\t]*)\t(.*)")
  return wrk.format("POST", wrk.path .. "?" .. query, { ["content-type"] = "text/xml" }, body)
end
`,
  );
  return script;
}

async function fill({ path, appIds: [app = ""] }: SeededFolder, key: Key, count: number): Promise<void> {
  const store = await openSqliteStore({
    path: join(path, "data", "accesstoken.db"),
    masterKeyFile: join(path, "data", "master.key"),
    masterKey: undefined,
    clock: systemClock,
    onKeyCreated: () => undefined,
  });
  const delivery = { target: "prod", environment: "prod", role: "primary", leasedUntil: 0 } as const;
  const settings = { platform: "weixin", mode: "secure", keys: [key], receiveIds: [app] } as const;
  for (let n = 0; n < count; n += AT_ONCE) {
    const some = Array.from({ length: AT_ONCE }, (_, index) => {
      const { query, body, contentType } = pushOf(app, key, n + index);
      const request = { method: "POST", query, body: Buffer.from(body), contentType } as const;
      const push = verifyPush(settings, request, systemClock.now()) as VerifiedPush;
      const kept = {
        ...{ app, dedupeKey: String(n + index), type: "text", event: "", receivedAt: systemClock.now() },
        ...{ request: keepPush({ platform: "weixin", request, push }), answer: undefined },
      };
      return store.deliveries.accept(kept, [{ ...delivery, sender: `oBENCH${index}` }], "bench");
    });
    await Promise.all(some);
  }
  store.close();
}
