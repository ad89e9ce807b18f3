import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { createApiKey } from "../../src/access/api-key.ts";
import { type Action, ACTIONS, KEY_ACTIONS, SERVICE_ACTIONS } from "../../src/access/client.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { keptText, setCallbacks } from "../callbacks/push-world.ts";
import { createAdmin, createClient } from "../support/access-harness.ts";
import { rawRequest } from "../support/raw-http.ts";
import { Harness, WX } from "../support/harness.ts";
import { missingRows, type Need, type Row, ROWS, type Target, WECOM_APP } from "./access-rows.ts";

const APPS = [WX.appId, WECOM_APP];
/** Without it there are no links to platforms' consent. */
const PUBLIC_URL = "https://wx.example.com";
const ORDINARY = ACTIONS.filter((action) => !SERVICE_ACTIONS.includes(action));

/** What is set of the service. */
interface Setting {
  readonly name: string;
  readonly environment: Record<string, string>;
  readonly isAnonymousOn: boolean;
  /** Whether metrics and documentation are an administrator's. */
  readonly isHidden?: boolean;
}

const SETTINGS: readonly Setting[] = [
  { name: "ANONYMOUS=on", environment: { ANONYMOUS: "on" }, isAnonymousOn: true },
  { name: "ANONYMOUS=off", environment: { ANONYMOUS: "off" }, isAnonymousOn: false },
  {
    name: "ANONYMOUS=on, METRICS and SWAGGER admin",
    environment: { ANONYMOUS: "on", METRICS: "admin", SWAGGER: "admin" },
    isAnonymousOn: true,
    isHidden: true,
  },
];

/** Somebody who asks: from where, with what, and what is to be answered. */
interface Asker {
  readonly isTrusted?: boolean;
  /** The key that it asks `row` with. */
  readonly key?: (world: Harness, row: Row) => Promise<string>;
  readonly hasSecret?: boolean;
  /** The code for a request that needs this; 0 where it is allowed. */
  readonly code: (need: Need, row: Row, setting: Setting) => number;
}

const clientWith = (actions: readonly Action[], apps = APPS, networks: readonly string[] = []) => ({
  name: "client",
  grants: [{ apps, actions }],
  networks,
});
const always = (code: number) => () => code;
const only = (...allowed: Need[]) => {
  return (need: Need) => (["public", "any", ...allowed].includes(need) ? 0 : 403);
};

const ASKERS: Record<string, Asker> = {
  "nobody on a trusted network": {
    isTrusted: true,
    code: (need, { needsKey = false }, { isAnonymousOn }) =>
      need === "public" || need === "metrics:read"
        ? 0
        : !isAnonymousOn
          ? 401
          : needsKey || KEY_ACTIONS.some((each) => each === need)
            ? 403
            : 0,
  },
  "nobody from an untrusted address": { code: always(403) },
  "a key that was never made": { key: async () => createApiKey().reveal(), code: always(401) },
  "a key with a wrong checksum": { key: async () => `ats_${"0".repeat(49)}`, code: always(401) },
  "an expired key": {
    key: async (world) => {
      const wanted = clientWith(ACTIONS, ["*"]);
      const key = await createClient(world, { ...wanted, keyExpiresAt: world.clock.now() + 1000 });
      world.clock.advance(1000);
      return key;
    },
    code: always(401),
  },
  "a revoked key": {
    key: async (world) => {
      const key = await createClient(world, clientWith(ACTIONS, ["*"]));
      await world.administer(`/v1/clients/client/keys/${key.slice(0, 12)}`, { method: "DELETE" });
      return key;
    },
    code: always(401),
  },
  "a client without any grant": {
    key: (world) => createClient(world, { name: "client", grants: [] }),
    code: only(),
  },
  "a client of another app": {
    key: (world) => createClient(world, clientWith(ORDINARY, ["wx0other"])),
    code: only("view anywhere"),
  },
  "a client with every action but this": {
    key: (world, { need }) => {
      // Who manages pushes sees those of every environment, the own among them.
      const missing =
        need === "callback:receive" ? [need, "callback:manage"] : [need.replace(" anywhere", "")];
      return createClient(world, clientWith(ORDINARY.filter((action) => !missing.includes(action))));
    },
    code: only("any here"),
  },
  "a client from an address that is not listed": {
    key: (world) => createClient(world, clientWith(ACTIONS, ["*"], ["10.0.0.0/8", "127.0.0.0/16"])),
    code: always(403),
  },
  "the holder of the app's secret": {
    hasSecret: true,
    code: (_need, { secretName }) => (secretName ? 0 : 403),
  },
  "a client that may only read tokens": {
    key: (world) => createClient(world, clientWith(["token:read"])),
    code: only("any here", "token:read"),
  },
  "a client that may manage the web logins of every app": {
    key: (world) => createClient(world, clientWith(["oauth:manage"], ["*"])),
    code: (need, row) => (row.alsoFor === "oauth:manage" ? 0 : only("any here", "oauth:manage")(need)),
  },
  "an administrator": { key: (world) => createAdmin(world), code: always(0) },
};

interface Cell {
  readonly row: Row;
  readonly place: "header" | "secret";
  readonly key: string | undefined;
  readonly from: string;
  /** Whether of the body nothing is sent but its length; default false. */
  readonly isBodyWithheld?: boolean;
}

/** Sends the request of a row over the network; the HTTP status, and the code or errcode, or 0 where there is none. */
async function send(world: Harness, cell: Cell, target: Target) {
  const { row, place, key, from, isBodyWithheld = false } = cell;
  const [method = "", pattern = ""] = row.route.replace(/^\*/, "GET").split(" ");
  const inPlace = key !== undefined && place === "secret" ? { [row.secretName ?? "secret"]: key } : {};
  const isInBody = row.body !== undefined;
  const query = new URLSearchParams({ ...row.query?.(target), ...(isInBody ? {} : inPlace) }).toString();
  const given = row.body && JSON.stringify({ ...row.body(target), ...(isInBody ? inPlace : {}) });
  const body = isBodyWithheld ? (given ?? "{}") : given;
  const lines = [
    `${method} ${row.path?.(target) ?? pattern}${query && `?${query}`} HTTP/1.1`,
    "Host: localhost",
    "Connection: close",
    ...(key !== undefined && place === "header" ? [`Authorization: Bearer ${key}`] : []),
    ...(body === undefined ? [] : ["Content-Type: application/json", `Content-Length: ${body.length}`]),
  ];
  const sent = isBodyWithheld ? "" : (body ?? "");
  const answer = await rawRequest(world.service.url, `${lines.join("\r\n")}\r\n\r\n${sent}`, from);
  return { status: answer.status, code: Number(/^\{"(?:err)?code":(-?\d+)/.exec(answer.body)?.[1] ?? 0) };
}

/** An app, a platform, a client, its key, an environment and a channel that are there to be changed by the route. */
async function makeTarget(world: Harness, number: number, route = ""): Promise<Target> {
  const [app, client] = [`wx${String(number).padStart(16, "e")}`, `target-${number}`];
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify({ platform: "weixin", app_id: app, secret: "secret-of-target" });
  await world.administer("/v1/apps", { method: "POST", headers, body });
  const platform = `wx${String(number).padStart(16, "d")}`;
  const entry = JSON.stringify({ kind: "component", id: platform, secret: "secret-of-target" });
  await world.administer("/v1/platforms", { method: "POST", headers, body: entry });
  const key = await createClient(world, { name: client, grants: [] });
  await world.administer(`/v1/environments/of-${client}`, { method: "PUT", headers, body: "{}" });
  const channel = JSON.stringify({
    ...{ channel: client, kind: "feishu" },
    url: `https://open.feishu.cn/open-apis/bot/v2/hook/${client}-0123456789abcdef`,
  });
  // There can't be one for each.
  if (route.includes("/notifications/"))
    await world.administer("/v1/notifications/channels", { method: "POST", headers, body: channel });
  const deliveries = { own: 0, other: 0 };
  const tokens = { weixin: "", wecom: "" };
  return { app, platform, client, key: key.slice(0, 12), number, tokens, deliveries };
}

/** The access tokens of both apps, which other rows clear and replace. */
async function tokensOf(world: Harness): Promise<Target["tokens"]> {
  const read = async (app: string) =>
    String((await world.administer(`/v1/apps/${app}/credentials/access_token`)).data["value"]);
  return { weixin: await read(WX.appId), wecom: await read(WECOM_APP) };
}

/** The status that says so: the documented protocol answers 200 whatever happened. */
function statusOf(row: Row, code: number): number {
  const speaksHttp = /^\/(v1|livez|readyz|metrics|docs)/.test(row.route.split(" ")[1] ?? "");
  if (code !== 0) return speaksHttp ? code : 200;
  if (row.route === "GET /docs") return 302;
  if (/^PUT .*\/callbacks(\/targets\/:target)?$/.test(row.route)) return 201;
  return /^POST \/v1\/(apps|platforms(\/:platform\/links)?|notifications\/channels|clients(\/:client\/keys(\/:key\/roll)?)?)$/.test(
    row.route,
  )
    ? 201
    : 200;
}

function needOf({ route, need }: Row, { isHidden }: Setting): Need {
  return isHidden && /^GET \/(metrics|swagger|docs)/.test(route) ? "admin" : need;
}

/** Callbacks of the WeCom application, with a pulled target in two environments; gives what makes a delivery to each. */
async function setDeliveries(world: Harness) {
  const store = await openSqliteStore({
    ...{ path: world.databasePath, masterKey: undefined, masterKeyFile: `${world.folder}/data/master.key` },
    ...{ clock: world.clock, onKeyCreated: () => undefined },
  });
  const environments = ["dev", "prod"];
  const targets = environments.map((environment) => ({ name: `${environment}-pull`, environment }));
  await setCallbacks(store, { targets }, WECOM_APP);
  const path = `/v1/apps/${WECOM_APP}/deliveries?wait=0`;
  await Harness.until(async () => {
    world.clock.advance(100);
    return (await world.administer(path)).status === 200;
  });
  const make = async (number: number): Promise<Target["deliveries"]> => {
    const now = world.clock.now();
    const push = { app: WECOM_APP, dedupeKey: `push-${number}`, type: "text", event: "", receivedAt: now };
    const each = environments.map((environment) => ({
      ...{ target: `${environment}-pull`, environment, role: "copy" as const, sender: "o1" },
      leasedUntil: undefined,
    }));
    const { ids } = await store.deliveries.accept(
      { ...push, request: keptText(now), answer: undefined },
      each,
      "",
    );
    return { own: ids?.[0] ?? 0, other: ids?.[1] ?? 0 };
  };
  return { make, [Symbol.dispose]: () => store.close() };
}

/** How a refusal of WeChat's own paths tells the code that the other faces have for it. */
function dropinCode({ dropin }: Row, code: number, isKeyed: boolean): number {
  if (!dropin) return code;
  const isWecom = dropin.platform === "wecom";
  const refused = { 401: isWecom ? 40001 : 40125, 403: isWecom ? 48002 : 48001 };
  if (!isKeyed) {
    // Whoever holds an app's token could ask WeChat himself.
    if (dropin.takes === "token") return 0;
    if (dropin.takes === "key") return 41001;
    return code === 0 ? 0 : 41004;
  }
  return code === 401 || code === 403 ? refused[code] : code;
}

const CASES = SETTINGS.flatMap((setting) =>
  Object.entries(ASKERS).map(([name, asker]) => [name, setting.name, asker, setting] as const),
);

test.each(CASES)(
  "P6: %s is answered on every route as it should be, with %s",
  async (_who, _how, asker, setting) => {
    const environment = { TRUSTED_NETWORKS: "127.0.0.0/16", PUBLIC_URL, ...setting.environment };
    await using world = await Harness.create({ environment });
    using database = new Database(world.databasePath, { readonly: true });
    const entries = () => database.query("SELECT count(*) AS n FROM audit_entries").get();
    const standing = await makeTarget(world, 0);
    using pushes = await setDeliveries(world);
    const keys = new Map<string, string>();
    const wrong: string[] = [];
    let number = 0;
    for (const row of ROWS) {
      const need = needOf(row, setting);
      // Only of one who has everything but this is there one for each.
      const of = asker === ASKERS["a client with every action but this"] ? need : "";
      if (asker.key && !keys.has(of)) {
        if (of) await world.administer("/v1/clients/client", { method: "DELETE" });
        keys.set(of, await asker.key(world, row));
      }
      const key = asker.hasSecret ? (row.trueSecret ?? WX.secret) : keys.get(of);
      if (of) keys.delete(of);
      const places = asker.hasSecret ? ["secret"] : key && row.secretName ? ["header", "secret"] : ["header"];
      for (const place of places as Cell["place"][]) {
        number += 1;
        const isKeyed = asker.key !== undefined;
        const code = dropinCode(row, asker.code(need, row, setting), isKeyed);
        if (code === 0) world.clock.advance(11_000);
        const target =
          code === 0 && need === "admin"
            ? await makeTarget(world, number, row.route)
            : { ...standing, number };
        const tokens = row.dropin?.takes === "token" ? await tokensOf(world) : target.tokens;
        const deliveries = row.route.includes("/deliveries/:id")
          ? await pushes.make(number)
          : target.deliveries;
        const before = entries();
        // Each from an address of its own: of one that is wrong too often nothing could be learned.
        const from = `127.${asker.isTrusted ? 0 : 1}.1.${number}`;
        const got = await send(world, { row, place, key, from }, { ...target, tokens, deliveries });
        const isUndone = code === 0 || Bun.deepEquals(entries(), before);
        const isRight = got.code === code && got.status === statusOf(row, code) && isUndone;
        if (!isRight) wrong.push(`${row.route} (${place}): ${JSON.stringify({ code, got, isUndone })}`);
      }
    }
    expect(wrong).toEqual([]);
  },
);

const REFUSED = [
  "nobody from an untrusted address",
  "a key that was never made",
  "a client from an address that is not listed",
  "a client without any grant",
  "a client with every action but this",
] as const;
/** Where the body may hold a secret, or tell which app or ticket is meant. */
const TOLD_BY_BODY = [
  "POST /cgi-bin/token",
  "POST /cgi-bin/stable_token",
  "POST /cgi-bin/ticket/getticket",
  "POST /cgi-bin/ticket/get",
  "POST /AccessToken/getOauthAccessToken",
  "POST /JsSDK/getJsApiSign",
];

test.each(REFUSED)("P6: %s is refused before the body is read", async (who) => {
  const environment = { TRUSTED_NETWORKS: "127.0.0.0/16", ANONYMOUS: "off" };
  const setting: Setting = { name: "", environment, isAnonymousOn: false };
  await using world = await Harness.create({ environment });
  const asker = ASKERS[who];
  const target = { ...(await makeTarget(world, 0)), tokens: await tokensOf(world) };
  const codeOf = (row: Row) =>
    dropinCode(row, asker?.code(row.need, row, setting) ?? 0, asker?.key !== undefined);
  // Whose a delivery is, is looked up for a client that may see some.
  const isToldByDelivery = ({ route, need }: Row) =>
    who === "a client with every action but this" &&
    need === "callback:manage" &&
    route.includes("/deliveries");
  const refused = ROWS.filter(
    (row) => codeOf(row) !== 0 && !TOLD_BY_BODY.includes(row.route) && !isToldByDelivery(row),
  );
  const wrong: string[] = [];
  for (const [need, rows] of Map.groupBy(refused, (row) => row.need)) {
    const key = await asker?.key?.(world, { route: "", need });
    const answers = rows.map(async (row) => {
      const from = `127.${asker?.isTrusted ? 0 : 1}.1.${ROWS.indexOf(row) + 1}`;
      const got = await send(world, { row, place: "header", key, from, isBodyWithheld: true }, target);
      const code = codeOf(row);
      if (got.code !== code || got.status !== statusOf(row, code))
        wrong.push(`${row.route}: ${JSON.stringify({ code, got })}`);
    });
    await Promise.all(answers);
    await world.administer("/v1/clients/client", { method: "DELETE" });
  }
  expect(refused.length).toBeGreaterThan(20);
  expect(wrong).toEqual([]);
});

/**
 * The console has no keys but in a body, somebody's session has to be there to be ended, a stream has no end, and WeChat has to
 * know a third-party platform that it is asked about, and to have sent it a ticket: tests/api/platform-tokens.test.ts.
 */
const TESTED_ELSEWHERE =
  /^\/console(\/|$)|^\/v1\/console\/(links|sessions\/)|^\/v1\/events$|^\/v1\/platforms\/:platform\/(ticket|reconcile)$|^\/(cgi-bin|sns)\/(oauth2\/)?(component|service)\//;

test("every route has a row in the matrix, and a route without one is noticed", async () => {
  await using world = await Harness.create();
  const routes = world.service.routes.filter(({ path }) => !TESTED_ELSEWHERE.test(path));
  expect(missingRows(routes)).toEqual([]);
  expect(missingRows([...routes, { method: "PUT", path: "/v1/planted" }])).toEqual(["PUT /v1/planted"]);
  expect(missingRows(routes.slice(1))).toEqual(["GET /"]);
});
