import type { Static } from "@sinclair/typebox";
import type { callbackData } from "../api/v1-callbacks-schema.ts";
import type { RedirectOriginsData } from "../api/v1-oauth-schema.ts";
import type { EnvironmentData } from "../api/v1-environments-schema.ts";
import type { ClientData } from "../api/v1-clients-schema.ts";
import type { KeyData } from "../api/v1-keys-schema.ts";
import { grantText } from "./client.ts";
import { isAdmin } from "../access/client.ts";
import { defaultsOf } from "../access/environments.ts";
import type { ServiceError } from "../errors.ts";
import { type Api, apiPath, type ApiRequest, ApiRefusal } from "./api.ts";
import { usageError } from "./arguments.ts";
import type { Manifest, ManifestClient } from "./manifest.ts";
import { keysPath } from "./new-key.ts";

/** Where pushes of an app go, as `/v1` shows it. */
type CallbackData = Static<typeof callbackData>;

/** Where web logins of an app may return to, as `/v1` shows it. */

/** One thing that shall be there, and what it takes. */
export interface Step {
  /** `keep` for what is so already, `extra` for what is there and not asked for. */
  readonly action: "add" | "change" | "remove" | "keep" | "extra";
  readonly kind: "environment" | "target" | "routes" | "redirect_origins" | "client" | "key";
  readonly name: string;
  /** What changes, by the names of `/v1`. */
  readonly fields?: readonly string[];
  /** What it is afterwards, where a name says too little: the grants of a client, and what a new environment is. */
  readonly detail?: string;
  /** Undefined where nothing is to be done; a function where it goes by what is there by then. */
  readonly request?: ApiRequest | (() => Promise<ApiRequest>);
}

/** How a plan is made. */
export interface PlanOptions {
  /** Whether what is there and not asked for is removed: in the sections and apps that the manifest has. */
  readonly prunes: boolean;
  /** Whether clients of the manifest that never had a key get one: whoever revoked one decides about the next. */
  readonly makesKeys: boolean;
}

/**
 * What it takes that all of `manifest` is there, in the order in which it can be done.
 *
 * @throws {ServiceError} What the service refuses; `conflict` for an app whose pushes are not set up.
 */
export async function planOf(api: Api, manifest: Manifest, options: PlanOptions): Promise<Step[]> {
  const clients = await new Clients(api, manifest, options).plan();
  const pushes: Step[] = [];
  for (const [app, wanted] of Object.entries(manifest.callbacks ?? {}))
    pushes.push(...targetSteps(app, wanted, await callbacksOf(api, app), options));
  const origins: Step[] = [];
  const seen = new Set<string>();
  for (const [app, wanted] of Object.entries(manifest.redirect_origins ?? {})) {
    const current = await originsOf(api, app);
    if (seen.has(current.app)) throw namedTwice(current.app);
    seen.add(current.app);
    origins.push(...originSteps(api, wanted, current, options));
  }
  const all = [
    ...(await environmentSteps(api, manifest, options, clients)),
    ...clients.steps,
    ...pushes,
    ...origins,
    ...clients.keySteps,
  ];
  // An environment goes after what is of it.
  const rank = ({ action, kind }: Step) => (action !== "remove" ? 0 : kind === "environment" ? 2 : 1);
  return all.toSorted((a, b) => rank(a) - rank(b));
}

/** Where pushes of an app go. Throws `conflict`, which says how to set them up, when they are not. */
export async function callbacksOf(api: Api, app: string): Promise<CallbackData> {
  try {
    return await api.get<CallbackData>(apiPath`/v1/apps/${app}/callbacks`);
  } catch (error) {
    if (!(error instanceof ApiRefusal) || error.status !== 404) throw error;
    throw error.hinted(`请先执行 accesstoken callbacks set ${app} (first: accesstoken callbacks set ${app})`);
  }
}

/** Where web logins of an app may return to. */
export function originsOf(api: Api, app: string): Promise<RedirectOriginsData> {
  return api.get<RedirectOriginsData>(apiPath`/v1/apps/${app}/redirect-origins`);
}

/** An account of a platform has two names: with both, the lists would prune each other. */
function namedTwice(app: string): ServiceError {
  return usageError(
    `redirect_origins: ${app} 以两个名称各出现一次，请合并 (${app} is there under both of its names: merge them)`,
  );
}

/** The same whatever the order of what has none, and whichever way nothing is written. */
export function isAlike(a: unknown, b: unknown): boolean {
  return JSON.stringify(inOrder(a)) === JSON.stringify(inOrder(b));
}

function inOrder(value: unknown): unknown {
  if (Array.isArray(value)) {
    const items = value.map((each) => JSON.stringify(inOrder(each))).toSorted();
    return items.length === 0 ? undefined : items;
  }
  if (typeof value !== "object" || value === null) return value ?? undefined;
  const fields = Object.entries(value).map(([name, each]) => [name, inOrder(each)] as const);
  return Object.fromEntries(
    fields.filter(([, each]) => each !== undefined).toSorted(([a], [b]) => (a < b ? -1 : 1)),
  );
}

/** The fields of `wanted` that differ from what is there. */
function changesOf(wanted: object, current: object): string[] {
  const before = new Map(Object.entries(current));
  return Object.entries(wanted).flatMap(([name, value]) =>
    value === undefined || isAlike(value, before.get(name)) ? [] : [name],
  );
}

function pick(from: object, names: readonly string[]): object {
  return Object.fromEntries(Object.entries(from).filter(([name]) => names.includes(name)));
}

function etag({ version }: { readonly version?: number | undefined }) {
  return version === undefined ? {} : { ifMatch: `"${version}"` };
}

async function environmentSteps(
  api: Api,
  { environments: wanted, clients: asClients }: Manifest,
  { prunes }: PlanOptions,
  clients: Clients,
): Promise<Step[]> {
  const kind = "environment";
  if (!wanted && !asClients) return [];
  const { environments } = await api.get<{ environments: readonly EnvironmentData[] }>("/v1/environments");
  const current = new Map(environments.map((each) => [each.environment, each]));
  const ofClients = new Set(Object.values(asClients ?? {}).map((each) => each.environment));
  // A new one comes with its first client anyway: the plan shall say so.
  const unsaid = [...ofClients].filter((name) => !current.has(name)).map((name) => [name, {}] as const);
  const all = { ...Object.fromEntries(unsaid), ...wanted };
  const steps = Object.entries(all).map(([name, body]): Step => {
    const put = { method: "PUT", path: apiPath`/v1/environments/${name}` } as const;
    const there = current.get(name);
    if (!there) return { action: "add", kind, name, ...detailOf(name, body), request: { ...put, body } };
    const fields = changesOf(body, there);
    if (fields.length === 0) return { action: "keep", kind, name };
    return {
      action: "change",
      kind,
      name,
      fields,
      // Whole: codes that are not given may change with production.
      request: { ...put, body, ...etag(there) },
    };
  });
  const isAsked = (name: string) => Object.hasOwn(all, name) || ofClients.has(name);
  const others = wanted ? environments.filter(({ environment }) => !isAsked(environment)) : [];
  const extra = others.map(({ environment: name }): Step => {
    const request = { method: "DELETE", path: apiPath`/v1/environments/${name}` } as const;
    return prunes && !clients.isUsed(name)
      ? { action: "remove", kind, name, request }
      : { action: "extra", kind, name };
  });
  return [...steps, ...extra];
}

/** What a new environment is, where that is more than the least. */
function detailOf(
  name: string,
  { production, codes }: NonNullable<Manifest["environments"]>[string],
): Pick<Step, "detail"> {
  const made = defaultsOf(name, production === undefined ? {} : { isProduction: production });
  const facts = [...(made.isProduction ? ["production"] : []), codes ?? made.codes];
  return facts.join() === "relay" ? {} : { detail: facts.join(", ") };
}

/** The steps to the clients of a manifest and their keys. */
class Clients {
  readonly #api: Api;
  readonly #wanted: Readonly<Record<string, ManifestClient>> | undefined;
  readonly #options: PlanOptions;
  readonly #isAsked: boolean;
  readonly steps: Step[] = [];
  readonly keySteps: Step[] = [];
  /** The environments of the clients that are left afterwards. */
  readonly #environments = new Set<string>();

  constructor(api: Api, { clients, environments }: Manifest, options: PlanOptions) {
    this.#api = api;
    this.#isAsked = clients !== undefined || (environments !== undefined && options.prunes);
    this.#wanted = clients;
    this.#options = options;
  }

  isUsed(environment: string): boolean {
    return this.#environments.has(environment);
  }

  async plan(): Promise<this> {
    // Who may set pushes and web logins alone may not read clients.
    if (!this.#isAsked) return this;
    const query = { path: "/v1/clients", name: "clients", cursor: "after" } as const;
    const { clients } = await this.#api.list<"clients", ClientData>(query);
    const current = new Map(clients.map((each) => [each.client, each]));
    for (const [name, wanted] of Object.entries(this.#wanted ?? {})) {
      this.#environments.add(wanted.environment);
      this.steps.push(clientStep(name, wanted, current.get(name)));
    }
    for (const client of clients) if (!Object.hasOwn(this.#wanted ?? {}, client.client)) this.#extra(client);
    if (this.#options.makesKeys)
      for (const name of Object.keys(this.#wanted ?? {})) await this.#key(name, current.has(name));
    return this;
  }

  /** Whoever manages the service is never removed. */
  #extra(client: ClientData): void {
    const { client: name, environment } = client;
    const kind = "client";
    if (this.#wanted && this.#options.prunes && !isAdmin(client)) {
      const request = { method: "DELETE", path: apiPath`/v1/clients/${name}`, ...etag(client) } as const;
      this.steps.push({ action: "remove", kind, name, request });
      return;
    }
    this.#environments.add(environment);
    if (this.#wanted && !isAdmin(client)) this.steps.push({ action: "extra", kind, name });
  }

  async #key(name: string, isThere: boolean): Promise<void> {
    const path = keysPath(name);
    const { keys } = isThere ? await this.#api.get<{ keys: readonly KeyData[] }>(path) : { keys: [] };
    const kind = "key";
    if (keys.length === 0) {
      this.keySteps.push({ action: "add", kind, name, request: { method: "POST", path, body: {} } });
      return;
    }
    const states = new Set(keys.map(({ state }) => state));
    if (states.has("active")) this.keySteps.push({ action: "keep", kind, name });
    else this.keySteps.push({ action: "extra", kind, name, fields: [...states] });
  }
}

function clientStep(name: string, wanted: ManifestClient, current: ClientData | undefined): Step {
  const kind = "client";
  if (!current) {
    const body = Object.fromEntries(Object.entries(wanted).filter(([, value]) => value !== null));
    const request = { method: "POST", path: "/v1/clients", body: { client: name, ...body } } as const;
    return { action: "add", kind, name, request };
  }
  const fields = current.damaged ? Object.keys(wanted) : changesOf(wanted, current);
  if (fields.length === 0) return { action: "keep", kind, name };
  const body = pick(wanted, fields);
  const request = { method: "PATCH", path: apiPath`/v1/clients/${name}`, body, ...etag(current) } as const;
  const detail = fields.includes("grants") ? { detail: wanted.grants.map(grantText).join("; ") } : {};
  return { action: "change", kind, name, fields, ...detail, request };
}

function targetSteps(
  app: string,
  { targets = {}, routes }: NonNullable<Manifest["callbacks"]>[string],
  current: CallbackData,
  { prunes }: PlanOptions,
): Step[] {
  const there = new Map(current.targets.map((each) => [each.target, each]));
  const steps = Object.entries(targets).map(([target, wanted]): Step => {
    const [kind, name] = ["target", `${app} ${target}`] as const;
    const put = { method: "PUT", path: apiPath`/v1/apps/${app}/callbacks/targets/${target}` } as const;
    const before = there.get(target);
    if (!before) return { action: "add", kind, name, request: { ...put, body: wanted } };
    const fields = changesOf(wanted, before);
    if (fields.length === 0) return { action: "keep", kind, name };
    return {
      action: "change",
      kind,
      name,
      fields,
      request: { ...put, body: pick(wanted, fields), ...etag(before) },
    };
  });
  const extra = current.targets.filter(({ target }) => !Object.hasOwn(targets, target));
  const others = extra.map(({ target, version }): Step => {
    const [kind, name] = ["target", `${app} ${target}`] as const;
    const path = apiPath`/v1/apps/${app}/callbacks/targets/${target}`;
    const request = { method: "DELETE", path, ...etag({ version }) } as const;
    return prunes ? { action: "remove", kind, name, request } : { action: "extra", kind, name };
  });
  if (!routes) return [...steps, ...others];
  const left = current.routes.filter((each) => !routes.some((wanted) => isAlike(wanted, each)));
  // Those of the file come first, as the first that fits answers.
  const wanted = prunes ? routes : [...routes, ...left];
  const isSame =
    wanted.length === current.routes.length && wanted.every((each, n) => isAlike(each, current.routes[n]));
  const request = {
    method: "PUT",
    path: apiPath`/v1/apps/${app}/callbacks/routes`,
    body: { routes: wanted },
    ...etag(current),
  } as const;
  const [kind, name] = ["routes", app] as const;
  const step: Step = isSame
    ? { action: "keep", kind, name }
    : { action: current.routes.length === 0 ? "add" : "change", kind, name, request };
  return [...steps, step, ...others];
}

function originSteps(
  api: Api,
  wanted: Readonly<Record<string, readonly string[]>>,
  { app, environments }: RedirectOriginsData,
  { prunes }: PlanOptions,
): Step[] {
  const current = new Map(environments.map((each) => [each.environment, each.redirect_origins]));
  const names = new Set([...Object.keys(wanted), ...current.keys()]);
  return [...names].flatMap((environment): Step[] => {
    const [kind, name] = ["redirect_origins", `${app} ${environment}`] as const;
    const before = current.get(environment) ?? [];
    const asked = wanted[environment] ?? [];
    const left = before.filter((each) => !asked.includes(each));
    const added = asked.filter((each) => !before.includes(each));
    const removed = prunes ? left : [];
    const extra: Step[] = left.length > 0 && !prunes ? [{ action: "extra", kind, name, fields: left }] : [];
    const fields = [...added, ...removed.map((each) => `-${each}`)];
    if (fields.length === 0) return asked.length > 0 ? [{ action: "keep", kind, name }, ...extra] : extra;
    // What another adds or removes meanwhile stays so: a removed origin must not come back.
    const request = async () => {
      const now = (await originsOf(api, app)).environments.find((each) => each.environment === environment);
      const origins = new Set([...(now?.redirect_origins ?? []), ...added]);
      for (const each of removed) origins.delete(each);
      const path = apiPath`/v1/apps/${app}/redirect-origins/${environment}`;
      return { method: "PUT", path, body: { redirect_origins: [...origins] }, ...etag(now ?? {}) } as const;
    };
    const isLast = before.length + added.length === removed.length;
    const action = isLast ? "remove" : before.length === 0 ? "add" : "change";
    return [{ action, kind, name, fields, request }, ...extra];
  });
}
