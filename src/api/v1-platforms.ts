import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type { Access } from "../access/access.ts";
import type { AppAdministration } from "../apps/app-administration.ts";
import type { AppDirectory } from "../apps/app-directory.ts";
import { type App, nameOfApp, type PlatformRole } from "../apps/app.ts";
import type { PublicSide } from "../apps/public-side.ts";
import type { CallbackDirectory } from "../callbacks/callback-directory.ts";
import { tokenKindOf } from "../credentials/kinds.ts";
import type { CredentialStates, CredentialStatus } from "../credentials/status.ts";
import type { PlatformAdministration } from "../platforms/platform-administration.ts";
import { Secret } from "../secret.ts";
import { callOf, Reply, route, type RouteRules } from "./face.ts";
import { etagOf, versionIn } from "./schema.ts";
import { answersOf } from "./v1-apps-schema.ts";
import {
  AUTHORIZATION_EXAMPLE,
  type AuthorizationData,
  authorizationsData,
  authorizationsQuery,
  newPlatformBody,
  platform,
  PLATFORM_EXAMPLE,
  platformChangeBody,
  type PlatformData,
  platformData,
  removalQuery,
} from "./v1-platforms-schema.ts";

const PAGE = 100;

/** What the routes of platforms work with. */
export interface PlatformRouteParts {
  readonly access: Access;
  readonly directory: AppDirectory;
  readonly administration: Pick<AppAdministration, "refresh">;
  readonly platformAdministration: PlatformAdministration;
  readonly states: Pick<CredentialStates, "ofCredentials">;
  readonly callbacks: Pick<CallbackDirectory, "of">;
  readonly publicSide: Pick<PublicSide, "urlOf">;
}

/** `/v1/platforms`: third-party platforms and what has authorised them; for administrators, and never a secret. */
export function platformRoutes(parts: PlatformRouteParts) {
  const { access, directory, platformAdministration: platforms } = parts;
  const rules: RouteRules = { guard: (call) => access.admin(call), isClosed: true };
  const show = async (id: string, status = 200) => {
    const [data] = await platformsData(parts, [platforms.get(id)]);
    if (!data) throw new Error("a platform without data");
    return new Reply(data, { status, headers: { etag: etagOf(data.version) } });
  };
  return (
    new Elysia({ prefix: "/v1/platforms" })
      // Before validation: only administrators learn what is wrong with a request.
      .derive(async ({ request }) => {
        const actor = access.admin(callOf(request));
        await parts.administration.refresh().catch(() => undefined);
        return { actor };
      })
      .get(
        "",
        async () => ({
          platforms: await platformsData(
            parts,
            directory.sorted().filter(({ role }) => role !== undefined),
          ),
        }),
        route(rules, {
          detail: {
            summary: "Third-party platforms · 第三方平台",
            description:
              "Each with its ticket, its token, its callback URLs and how many accounts it has. For administrators. 各平台的ticket、token、回调URL和授权账号数；仅管理员。",
            tags: ["Platforms"],
            responses: answersOf(
              "The platforms. 第三方平台。",
              Type.Object({ platforms: Type.Array(platformData) }),
              { platforms: [PLATFORM_EXAMPLE] },
            ),
          },
        }),
      )
      .post(
        "",
        async ({ body, actor }) => {
          const { kind: role, id, secret, title, provider } = body;
          const entry = { role, id, secret: new Secret(secret), title, provider };
          return show(id, (await platforms.create(entry, actor)) ? 201 : 200);
        },
        route(rules, {
          body: newPlatformBody,
          detail: {
            summary: "Register a third-party platform · 登记第三方平台",
            description:
              "201 when it is new, 200 when the same exists, 409 when its id is taken. The secret is not verified: that needs a ticket, which is pushed only once the callback URLs are set. 新建返回201，内容相同返回200，id已被占用返回409。此时不核实secret：核实需要推送的ticket。",
            tags: ["Platforms"],
            responses: answersOf("The platform. 第三方平台。", platformData, PLATFORM_EXAMPLE),
          },
        }),
      )
      .get(
        "/:platform",
        ({ params }) => show(params.platform),
        route(rules, {
          params: Type.Object({ platform }),
          detail: {
            summary: "One third-party platform · 单个第三方平台",
            description: "As in the list. For administrators. 与列表中相同；仅管理员。",
            tags: ["Platforms"],
            responses: answersOf("The platform. 第三方平台。", platformData, PLATFORM_EXAMPLE),
          },
        }),
      )
      .patch(
        "/:platform",
        async ({ params, body, actor, request }) => {
          const { title, secret, disabled } = body;
          const change = {
            ...(title === undefined ? {} : { title }),
            ...(secret === undefined ? {} : { secret: new Secret(secret) }),
            ...(disabled === undefined ? {} : { isDisabled: disabled }),
          };
          await platforms.update(params.platform, change, { version: versionIn(request.headers), actor });
          return show(params.platform);
        },
        route(rules, {
          params: Type.Object({ platform }),
          body: platformChangeBody,
          detail: {
            summary: "Change a third-party platform · 修改第三方平台",
            description:
              "Fields that are left out keep their values. A new secret clears the token that the old one obtained. With If-Match, 412 for any other version. 未给出的字段不变；更换secret后旧secret获取的token作废；带If-Match时版本不符返回412。",
            tags: ["Platforms"],
            responses: answersOf("The platform. 第三方平台。", platformData, PLATFORM_EXAMPLE),
          },
        }),
      )
      .delete(
        "/:platform",
        async ({ params, query, actor, request }) => {
          await platforms.remove(params.platform, {
            version: versionIn(request.headers),
            hasAuthorizations: query.with_authorizations === "true",
            actor,
          });
          return {};
        },
        route(rules, {
          params: Type.Object({ platform }),
          query: removalQuery,
          detail: {
            summary: "Remove a third-party platform · 删除第三方平台",
            description:
              "409 while it has accounts, unless `with_authorizations=true`. Deletes its secret, credentials and callback settings here; nothing changes at WeChat. Takes no body. 仍有授权账号时返回409，除非带 `with_authorizations=true`；只删除本服务的数据，不影响微信侧；无请求体。",
            tags: ["Platforms"],
            responses: answersOf("Removed. 已删除。", Type.Object({}), {}),
          },
        }),
      )
      .get(
        "/:platform/authorizations",
        ({ params, query }) => {
          platforms.get(params.platform);
          const { after = "", limit } = query;
          const size = Number(limit ?? PAGE);
          const rest = directory.authorizedTo(params.platform).filter((app) => nameOfApp(app) > after);
          const shown = rest.slice(0, size).map(authorizationFields);
          const next = rest.length > size ? shown.at(-1)?.app : undefined;
          return { authorizations: shown, ...(next === undefined ? {} : { next }) };
        },
        route(rules, {
          params: Type.Object({ platform }),
          query: authorizationsQuery,
          detail: {
            summary: "What has authorised a platform · 授权给该平台的账号",
            description:
              "Accounts or corps, sorted by name, in pages. Each is an app too: `/v1/apps/<app>`. 账号或企业，按名称排序，分页；每个同时也是一个应用。",
            tags: ["Platforms"],
            responses: answersOf("The accounts. 授权账号。", authorizationsData, {
              authorizations: [AUTHORIZATION_EXAMPLE],
            }),
          },
        }),
      )
  );
}

async function platformsData(parts: PlatformRouteParts, apps: readonly App[]): Promise<PlatformData[]> {
  const { directory, states } = parts;
  const statuses = await states.ofCredentials(apps.map((app) => directory.slotOfApp(app.id)));
  return apps.flatMap((app, n) => (app.role ? [dataOf(parts, app, app.role, statuses[n] ?? [])] : []));
}

/** JSON leaves out what is undefined. */
function dataOf(
  parts: PlatformRouteParts,
  app: App,
  role: PlatformRole,
  credentials: readonly CredentialStatus[],
): PlatformData {
  const tokenKind = tokenKindOf({ name: `@${role}` });
  const token = credentials.find(({ kind }) => kind === tokenKind);
  const ticket = credentials.find(({ kind }) => kind !== tokenKind)?.life;
  const accounts = parts.directory.authorizedTo(app.id);
  const lost = accounts.filter(({ authorization }) => authorization?.lostAt !== undefined).length;
  return {
    platform: app.id,
    kind: role,
    title: app.managed?.title,
    provider: app.provider,
    disabled: app.managed?.isDisabled ?? false,
    version: app.managed?.version ?? 0,
    ticket: { received_at: ticket?.issuedAt, expires_at: ticket?.expiresAt },
    token: { state: token?.state ?? "none", expires_at: token?.life?.expiresAt },
    callback: { is_set: parts.callbacks.of(app.id) !== undefined, ...callbackUrls(parts, app.id, role) },
    authorizations: { valid: accounts.length - lost, lost },
  };
}

/** What WeChat's or WeCom's console asks for; it replaces `$APPID$` and `$CORPID$` itself. */
function callbackUrls({ publicSide }: PlatformRouteParts, id: string, role: PlatformRole) {
  if (role === "provider") return {};
  const account = role === "component" ? "$APPID$" : "$CORPID$";
  return {
    auth_url: publicSide.urlOf(id, `/callback/${id}/auth`),
    message_url: publicSide.urlOf(id, `/callback/${id}/${account}`),
  };
}

function authorizationFields(app: App): AuthorizationData {
  const { authorization, managed } = app;
  const isMiniProgram = authorization?.isMiniProgram ?? false;
  return {
    app: nameOfApp(app),
    account: app.id,
    title: managed?.title,
    kind: app.platform === "wecom" ? "corp" : isMiniProgram ? "miniprogram" : "official",
    scopes: [...(authorization?.scopes ?? [])],
    user_name: authorization?.userName,
    agent_id: authorization?.agentId,
    authorized_at: authorization?.authorizedAt ?? 0,
    lost_at: authorization?.lostAt,
    disabled: managed?.isDisabled ?? false,
  };
}
