import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { callOf, Reply, route, type RouteRules } from "./face.ts";
import { etagOf, versionIn } from "./schema.ts";
import { answersOf } from "./v1-apps-schema.ts";
import type { AppAdministration } from "../apps/app-administration.ts";
import type { AppDirectory } from "../apps/app-directory.ts";
import { nameOfApp } from "../apps/app.ts";
import type { Clock } from "../clock.ts";
import type { Access } from "../access/access.ts";
import { type ApiPolicy, policyFields } from "../access/api-policy.ts";
import { type ClientAdministration, isLive, noSuchClient } from "../access/client-administration.ts";
import type { ClientSettings, NewClientSettings } from "../access/client-settings.ts";
import type { ClientDirectory } from "../access/client-directory.ts";
import { ANY_APP, type Client, type Grant, platformOf } from "../access/client.ts";
import {
  BASE_URL_EXAMPLE,
  client,
  CLIENT_EXAMPLE,
  type ClientChange,
  clientChangeBody,
  clientData,
  clientQuery,
  clientsData,
  createdClientData,
  newClientBody,
} from "./v1-clients-schema.ts";
import { KEY_EXAMPLE } from "./v1-keys-schema.ts";

const PAGE = 100;
/** How many apps a hint names. */
const MAX_HINTED = 10;

/** What the routes of `/v1/clients` work with. */
export interface ClientRouteParts {
  readonly access: Access;
  readonly clients: ClientDirectory;
  readonly clientAdministration: ClientAdministration;
  readonly directory: Pick<AppDirectory, "find">;
  readonly administration: Pick<AppAdministration, "refresh">;
  readonly clock: Clock;
}

/** `/v1/clients`: clients and their grants; for administrators. */
export function clientRoutes(parts: ClientRouteParts) {
  const { access, clients, clientAdministration: administration, directory, clock } = parts;
  const rules: RouteRules = { guard: (call) => access.admin(call), isClosed: true };
  const show = (
    name: string,
    { status = 200, hint }: { readonly status?: number; readonly hint?: string | undefined } = {},
    more: (client: Client) => object = () => ({}),
  ) => {
    const found = clients.find(name);
    if (!found) throw noSuchClient();
    const data = { ...clientFields(found), ...more(found) };
    return new Reply(data, { status, headers: { etag: etagOf(found.version) }, hint });
  };
  /** A grant may come before its app, but more often its app is misspelt. */
  const hintFor = async (grants: readonly Grant[]) => {
    await parts.administration.refresh().catch(() => undefined);
    const apps = new Set(grants.flatMap((grant) => grant.apps));
    const held = (app: string) => {
      const platform = platformOf(app);
      return platform === undefined ? directory.find(app) : directory.find(platform)?.role;
    };
    const missing = [...apps].filter((app) => app !== ANY_APP && !held(app));
    // An AppID alone may come to mean another app: an account of a platform has a name of its own.
    const short = [...apps].flatMap((app) => {
      const found = platformOf(app) === undefined ? directory.find(app) : undefined;
      return found && nameOfApp(found) !== app ? [nameOfApp(found)] : [];
    });
    if (short.length > 0)
      return `第三方平台的授权账号须用完整名称，该授权目前不起作用，请改为：${short.join("、")} (accounts of a third-party platform are granted by their full names; as it is the grant does nothing, give: ${short.join(", ")})`;
    if (missing.length === 0) return undefined;
    const names = missing.slice(0, MAX_HINTED).join(", ") + (missing.length > MAX_HINTED ? ", …" : "");
    return `尚未持有授权中的这些应用，请检查名称，或添加应用：${names} (these apps of its grants are not held; check their names, or add them: ${names})`;
  };
  const keysSum = (name: string) => {
    const keys = clients.keysOf(name);
    const active = keys.filter((each) => isLive(each, clock.now()));
    const used = keys.flatMap(({ lastUsedAt }) => lastUsedAt ?? []);
    const ends = active.flatMap(({ expiresAt }) => expiresAt ?? []);
    const [last_used_at] = used.toSorted((a, b) => b - a);
    const [next_end_at] = ends.toSorted((a, b) => a - b);
    return { active: active.length, last_used_at, next_end_at };
  };
  return (
    new Elysia({ prefix: "/v1/clients" })
      // Before validation: only administrators learn what is wrong with a request.
      .derive(async ({ request }) => {
        const actor = access.admin(callOf(request));
        // To see what another process has just changed.
        await clients.catchUp();
        return { actor };
      })
      .get(
        "",
        ({ query }) => {
          const size = Number(query.limit ?? PAGE);
          const { after, q, environment: of } = query;
          const isWanted = ({ name, environment }: Client) =>
            (q === undefined || name.includes(q)) && (of === undefined || environment === of);
          const found = clients.list({ after, limit: size + 1, isWanted });
          const page = found.slice(0, size);
          const next = found.length > size ? page.at(-1)?.name : undefined;
          const listed = page.map((each) => ({ ...clientFields(each), keys: keysSum(each.name) }));
          return { clients: listed, ...(next === undefined ? {} : { next }) };
        },
        {
          query: clientQuery,
          detail: {
            summary: "Every client · 全部客户端",
            description:
              "Sorted by name, in pages; with `q` those whose name contains it. 按名称排序，分页；`q` 按名称查找（包含即可）。",
            tags: ["clients"],
            responses: answersOf("The clients. 客户端列表。", clientsData, {
              clients: [{ ...CLIENT_EXAMPLE, keys: { active: 1, last_used_at: KEY_EXAMPLE.last_used_at } }],
            }),
          },
        },
      )
      .post(
        "",
        async ({ body, actor, request }) => {
          const settings: NewClientSettings = {
            environment: body.environment,
            grants: body.grants,
            networks: body.networks ?? [],
            origins: originsOf(body),
            expiresAt: body.expires_at,
            rateLimit: body.rate_limit,
            concurrency: body.concurrency,
            ...(body.delivery && { delivery: body.delivery }),
            ...(body.policy && { policy: policyOf(body.policy) }),
          };
          const isNew = await administration.create(body.client, settings, { actor });
          const more = { status: isNew ? 201 : 200, hint: await hintFor(body.grants) };
          return show(body.client, more, (made) => reachOf(made, baseUrlOf(request)));
        },
        route(rules, {
          body: newClientBody,
          detail: {
            summary: "Create a client · 创建客户端",
            description:
              "201 when it is new, 200 when the same client exists, 409 when a different one has that name. `hint` names apps of its grants that are not held. `note` says where virtual tokens work: through this service only; for programs that call WeChat themselves use `delivery` `real`. 新建返回201；内容相同的重复请求返回200，同名但不同返回409。授权中有尚未持有的应用时，`hint` 会列出。`note` 说明虚拟token只能经本服务使用；自行调用微信的程序请将 `delivery` 设为 `real`。",
            tags: ["clients"],
            responses: answersOf("The client. 客户端。", createdClientData, {
              ...CLIENT_EXAMPLE,
              ...reachOf({ delivery: "virtual" }, BASE_URL_EXAMPLE),
            }),
          },
        }),
      )
      .get("/:client", ({ params }) => show(params.client), {
        params: Type.Object({ client }),
        detail: {
          summary: "One client · 单个客户端",
          description: "The header ETag names its version. 响应头ETag为其版本。",
          tags: ["clients"],
          responses: answersOf("The client. 客户端。", clientData, CLIENT_EXAMPLE),
        },
      })
      .patch(
        "/:client",
        async ({ params, body, actor, request }) => {
          const version = versionIn(request.headers);
          await administration.update(params.client, changeOf(body), { actor, version });
          return show(params.client, { hint: body.grants && (await hintFor(body.grants)) });
        },
        route(rules, {
          params: Type.Object({ client }),
          body: clientChangeBody,
          detail: {
            summary: "Change a client · 修改客户端",
            description:
              "Fields that are left out keep their values; null clears one. With If-Match, 412 for any other version. `hint` names apps of given grants that are not held. 未给出的字段不变，null为清空。带If-Match时版本不符返回412。所给授权中有尚未持有的应用时，`hint` 会列出。",
            tags: ["clients"],
            responses: answersOf("The client. 客户端。", clientData, CLIENT_EXAMPLE),
          },
        }),
      )
      .delete(
        "/:client",
        async ({ params, actor, request }) => {
          await administration.remove(params.client, { actor, version: versionIn(request.headers) });
          return {};
        },
        route(rules, {
          params: Type.Object({ client }),
          detail: {
            summary: "Remove a client and its keys · 删除客户端及其密钥",
            description:
              "Every process refuses its keys within a second. Takes no body. 各进程在一秒内停止接受其密钥；无请求体。",
            tags: ["clients"],
            responses: answersOf("Removed. 已删除。", Type.Object({}), {}),
          },
        }),
      )
  );
}

/** The given fields of a change; null clears one. */
export function changeOf(body: ClientChange): Partial<ClientSettings> {
  const { expires_at: expiresAt, rate_limit: rateLimit, concurrency, policy, origins, ...rest } = body;
  return {
    ...rest,
    ...(origins === undefined ? {} : { origins: originsOf(body) }),
    ...(expiresAt === undefined ? {} : { expiresAt: expiresAt ?? undefined }),
    ...(rateLimit === undefined ? {} : { rateLimit: rateLimit ?? undefined }),
    ...(concurrency === undefined ? {} : { concurrency: concurrency ?? undefined }),
    ...(policy && { policy: policyOf(policy) }),
  };
}

/** None is any. */
function originsOf({ origins }: Pick<ClientChange, "origins">): readonly string[] | undefined {
  return origins && origins.length > 0 ? origins : undefined;
}

function policyOf(policy: NonNullable<ClientChange["policy"]>): ApiPolicy {
  const { preset, allow = [], deny = [], test_openids: testOpenids = [] } = policy;
  return { preset, allow, deny, ...(testOpenids.length > 0 && { testOpenids }) };
}

/** Where whoever sent the request found this service. */
export function baseUrlOf({ url, headers }: Request): string {
  const { origin } = new URL(url);
  // A proxy in front ended TLS. It is only shown, so that it need not be trusted.
  const isSecure = /^\s*https\s*(,|$)/i.test(headers.get("x-forwarded-proto") ?? "");
  return isSecure ? origin.replace(/^http:/, "https:") : origin;
}

/** What the maker of a client must know of its tokens. */
function reachOf({ delivery }: Pick<Client, "delivery">, baseUrl: string) {
  if (delivery === "real") return { base_url: baseUrl };
  const note = `virtual：只能经 ${baseUrl} 使用；自行调用微信的程序请用 --delivery real (virtual: works through ${baseUrl} only; for programs that call WeChat themselves use --delivery real)`;
  return { base_url: baseUrl, note };
}

/** JSON leaves out what is undefined. */
function clientFields({ name, environment, grants, networks, ...rest }: Client) {
  return {
    client: name,
    environment,
    grants,
    networks,
    origins: rest.origins,
    expires_at: rest.expiresAt,
    rate_limit: rest.rateLimit,
    concurrency: rest.concurrency,
    delivery: rest.delivery,
    policy: policyFields(rest.policy),
    created_at: rest.createdAt,
    updated_at: rest.updatedAt,
    version: rest.version,
    damaged: rest.damaged,
  };
}
