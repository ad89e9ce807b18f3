import { type Action, CLIENT_NAME, platformOf } from "../access/client.ts";
import { defaultsOf } from "../access/environments.ts";
import { type Api, apiPath } from "./api.ts";
import { carryOut, checkFiles, type Done, showDone } from "./apply.ts";
import { ALL_APPS, findApps, findList } from "./argument-values.ts";
import { type Arguments, bilingual, type Text, usageError } from "./arguments.ts";
import type { ClientData } from "../api/v1-clients-schema.ts";
import type { EnvironmentData } from "../api/v1-environments-schema.ts";
import { addGrant } from "./client.ts";
import { type Manifest, type ManifestClient, type ManifestRoute, originOf } from "./manifest.ts";
import type { Managing } from "./managing.ts";
import { callbacksOf, isAlike, originsOf, planOf, type Step } from "./plan.ts";
import { findEnd, findNewPolicy, findRate, networksOf } from "./set-client.ts";
import { plainText } from "./terminal.ts";

/** What a program on a server does. */
const BACKEND: readonly Action[] = [
  ...(["token:read", "ticket:read", "ticket:sign", "login", "api:call"] as const),
  "callback:receive",
];
/** What may be done with a key that every visitor can read in the page. */
const FRONTEND: readonly Action[] = ["ticket:sign"];
/** In the place of a URL: the environment pulls its pushes. */
const PULL = "pull";

/** What shall be there of a new environment, and what stands already and is another. */
interface Wanted {
  readonly manifest: Manifest;
  readonly notes: readonly Text[];
}

/**
 * Makes an environment, and what its programs need: clients, keys, redirect origins, targets of pushes. What stands already
 * stays as it is, so that it may be repeated.
 */
export async function addEnvironment(
  at: Managing,
  name: string,
  settings: { readonly production: boolean | undefined; readonly codes: string | undefined },
): Promise<void> {
  const { args, api, note } = at;
  const folder = args.find("out");
  const apps = appsOf(args);
  const environment = await environmentOf(api, name, settings);
  const isProduction = environment.production;
  const programs = await clientsOf(at, name, apps);
  const pushes = await pushesOf(at, name, apps, isProduction);
  const origins = redirectOriginsOf(args);
  const manifest = {
    environments: { [name]: environment.isThere ? {} : environment.body },
    clients: programs.manifest.clients ?? {},
    ...(origins.length > 0 && {
      redirect_origins: Object.fromEntries(apps.map((app) => [app, { [name]: origins }])),
    }),
    ...(pushes.manifest.callbacks && { callbacks: pushes.manifest.callbacks }),
  } as Manifest;
  const all = await planOf(api, manifest, { prunes: false, makesKeys: true });
  const steps = all.filter(({ action }) => action !== "extra");
  checkFiles(steps, folder);
  const done: Done = { steps: [], made: [] };
  try {
    await carryOut(at, steps, folder, done);
  } finally {
    await showDone(at, { environment: name }, done);
  }
  const ended = all.filter(({ kind, action }) => kind === "key" && action === "extra");
  for (const each of [...environment.notes, ...programs.notes, ...pushes.notes, ...ended.map(noKeyLeft)])
    note(each);
  if (args.isSet("frontend")) for (const each of await unlistedPages(api, pagesOf(args))) note(each);
  for (const each of await loginHosts(api, steps)) note(each);
}

function appsOf(args: Arguments): readonly string[] {
  const apps = findApps(args) ?? [];
  const needs = ["backend", "frontend", "redirect-origin", "target"].find((each) => args.isSet(each));
  if (apps.length === 0 && needs !== undefined)
    throw usageError(`--${needs} 须与 --apps 一起使用 (--${needs} needs --apps)`);
  const named = ["redirect-origin", "target"].find((each) => args.isSet(each));
  const isMany = apps.some((app) => app === ALL_APPS || platformOf(app) !== undefined);
  if (isMany && named !== undefined)
    throw usageError(`--${named}: 须在 --apps 中列出应用 (list the apps in --apps)`);
  return apps;
}

function redirectOriginsOf(args: Arguments): readonly string[] {
  const all = args.all("redirect-origin").flatMap((each) => each.split(","));
  return [...new Set(all.map((each) => originOf(each, "--redirect-origin")))];
}

/** The origins of the environment's pages: of those that web logins may return to, what a browser sends. */
function pagesOf(args: Arguments): string[] {
  const all = redirectOriginsOf(args).filter((each) => URL.canParse(each) && !each.includes("*"));
  return [...new Set(all.map((each) => new URL(each).origin))];
}

/** That browsers refuse calls of pages whose origin is not listed, with what lists it. */
async function unlistedPages(api: Api, pages: readonly string[]): Promise<Text[]> {
  const { cors_origins: listed } = await api.get<{ cors_origins: readonly string[] }>("/v1/settings");
  return pages
    .filter((page) => !listed.includes(page))
    .map((page) => {
      const command = `accesstoken cors add ${plainText(page)}`;
      return bilingual(
        `browsers let pages of ${plainText(page)} call this service only after: ${command}`,
        `要让 ${plainText(page)} 的网页在浏览器中调用本服务，请执行 ${command}`,
      );
    });
}

/** The environment as it is there or shall be. */
async function environmentOf(
  api: Api,
  name: string,
  body: { production?: boolean | undefined; codes?: string | undefined },
) {
  const there = await api.find<EnvironmentData>(apiPath`/v1/environments/${name}`);
  if (!there) {
    const production = body.production ?? defaultsOf(name).isProduction;
    return { isThere: false, production, body, notes: [] };
  }
  const differs =
    (body.production !== undefined && body.production !== there.production) ||
    (body.codes !== undefined && body.codes !== there.codes);
  const notes = differs ? [standsOtherwise(name, `accesstoken environments set ${name}`)] : [];
  return { isThere: true, production: there.production, body, notes };
}

/** A client for each program; of those that stand already as they are. */
async function clientsOf(at: Managing, environment: string, apps: readonly string[]): Promise<Wanted> {
  const { args, api, terminal } = at;
  const clients: Record<string, ManifestClient> = {};
  const notes: Text[] = [];
  const [networks, rate, expires] = [networksOf(args), findRate(args), findEnd(args, terminal.clock.now())];
  const policy = findNewPolicy(args);
  const pages = pagesOf(args);
  const limits = {
    environment,
    ...(rate === undefined ? {} : { rate_limit: rate }),
    ...(expires === undefined ? {} : { expires_at: expires }),
  };
  const groups = [
    [
      "backend",
      BACKEND,
      { ...(networks.length > 0 && { networks: [...networks] }), ...(policy && { policy }) },
    ],
    ["frontend", FRONTEND, pages.length > 0 ? { origins: pages } : {}],
  ] as const;
  const backends = findList(args, "backend") ?? [];
  const both = findList(args, "frontend")?.find((each) => backends.includes(each));
  if (both !== undefined)
    throw usageError(
      `--frontend: ${both} 也在 --backend 中，两者须是不同的程序 (${both} is in --backend, too; they must be two programs)`,
    );
  for (const [kind, actions, more] of groups)
    for (const program of findList(args, kind) ?? []) {
      const client = clientName(kind, program, environment);
      const grant = { apps: [...apps], actions: [...actions] };
      const there = await api.find<ClientData>(apiPath`/v1/clients/${client}`);
      if (there && there.environment !== environment)
        throw usageError(
          `--${kind}: 客户端 ${client} 已存在，属于环境 ${there.environment} (the client ${client} is there, of the environment ${there.environment})`,
        );
      if (
        kind === "frontend" &&
        there?.grants.some((each) => each.actions.some((it) => !FRONTEND.includes(it)))
      )
        throw usageError(
          `--frontend: 客户端 ${client} 的权限不止签名，其密钥不得放入网页，请用其他名称 (the client ${client} may do more than have pages signed, so its key must be in no page; use another name)`,
        );
      const grants = addGrant(there?.grants ?? [], grant);
      if (there && grants !== there.grants)
        notes.push(
          standsOtherwise(
            client,
            `accesstoken clients grant ${client} --apps ${apps.join(",")} --actions ${actions.join(",")}`,
          ),
        );
      const { grants: own = [grant] } = there ?? {};
      clients[client] = there
        ? { environment, grants: [...own] as ManifestClient["grants"] }
        : ({ ...limits, grants: [grant], ...more } as ManifestClient);
    }
  return { manifest: { clients }, notes };
}

function clientName(option: string, program: string, environment: string): string {
  const name = `${program}-${environment.toLowerCase()}`;
  if (CLIENT_NAME.test(name)) return name;
  throw usageError(
    `--${option}: 应为小写字母、数字、点、下划线和连字符组成的名称 (must be names of lower-case letters, digits, dots, underscores and hyphens)`,
  );
}

/** A target of that name for each app, and its routes: the testers' before all others, the rest behind them. */
async function pushesOf(
  { args, api }: Managing,
  name: string,
  apps: readonly string[],
  isProduction: boolean,
): Promise<Wanted> {
  const given = args.find("target");
  const role = args.find("role") ?? (isProduction ? "primary" : "copy");
  if (role !== "primary" && role !== "copy")
    throw usageError("--role: 应为 primary 或 copy (must be primary or copy)");
  if (given === undefined) return { manifest: {}, notes: [] };
  const openids = findList(args, "test-openids");
  const notes: Text[] = [];
  const callbacks: NonNullable<Manifest["callbacks"]> = {};
  for (const app of apps) {
    const { targets, routes } = await callbacksOf(api, app);
    const there = targets.find(({ target }) => target === name);
    const url = given === PULL ? undefined : given;
    if (there && (there.url ?? undefined) !== url)
      notes.push(standsOtherwise(`${app} ${name}`, `accesstoken callbacks target ${app} ${name}`));
    const testers: ManifestRoute[] = openids ? [{ target: name, role: "primary", openids }] : [];
    const has = (wanted: ManifestRoute) => routes.some((each) => isAlike(each, wanted));
    const isRouted = routes.some((each) => each.target === name && !each.openids);
    callbacks[app] = {
      targets: {
        [name]: there
          ? { environment: there.environment }
          : { environment: name, ...(url === undefined ? {} : { url }) },
      },
      routes: [
        ...testers.filter((each) => !has(each)),
        ...routes,
        ...(isRouted ? [] : [{ target: name, role } as const]),
      ],
    };
  }
  return { manifest: { callbacks }, notes };
}

function noKeyLeft({ name }: Step): Text {
  const command = `accesstoken keys create ${plainText(name)}`;
  return bilingual(
    `${plainText(name)} has no key that works, and gets none by itself after one that has ended: ${command}`,
    `${plainText(name)} 的密钥均已失效，不会自动生成新的；需要时请执行 ${command}`,
  );
}

function standsOtherwise(what: string, command: string): Text {
  const name = plainText(what);
  return bilingual(
    `${name} is there already with other settings and stays as it is; to change it: ${plainText(command)}`,
    `${name} 已存在且设置不同，保持不变；要修改请执行 ${plainText(command)}`,
  );
}

/** The host that links of web logins change to, for each app whose origins are new. */
async function loginHosts(api: Api, steps: readonly Step[]): Promise<Text[]> {
  const isNew = ({ kind, action }: Step) => kind === "redirect_origins" && action !== "keep";
  const apps = new Set(steps.filter(isNew).map(({ name }) => name.split(" ")[0] ?? ""));
  const lines: Text[] = [];
  for (const app of apps) {
    const { return_url: url } = await originsOf(api, app);
    const host = url === undefined ? undefined : plainText(new URL(url).origin);
    lines.push(
      host === undefined
        ? bilingual(
            `web logins of ${app} need PUBLIC_URL, which is not set`,
            `${app} 的网页登录需要设置 PUBLIC_URL`,
          )
        : bilingual(
            `web logins of ${app}: ${host} in the place of https://open.weixin.qq.com`,
            `${app} 的网页登录：用 ${host} 代替 https://open.weixin.qq.com`,
          ),
    );
  }
  return lines;
}
