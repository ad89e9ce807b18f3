import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type { Access } from "../access/access.ts";
import type { AppAdministration } from "../apps/app-administration.ts";
import type { AppDirectory } from "../apps/app-directory.ts";
import { type App, nameOfApp, type PlatformRole, ROLE_NAMES, type Slot } from "../apps/app.ts";
import type { PublicSide } from "../apps/public-side.ts";
import type { CallbackDirectory } from "../callbacks/callback-directory.ts";
import { tokenKindOf } from "../credentials/kinds.ts";
import type { CredentialStates, CredentialStatus } from "../credentials/status.ts";
import type { AuthorizationLinks } from "../platforms/authorization-links.ts";
import type { Authorizations } from "../platforms/authorizations.ts";
import type { PlatformAdministration } from "../platforms/platform-administration.ts";
import { Secret } from "../secret.ts";
import { ServiceError } from "../errors.ts";
import type { LinkRequest } from "../platforms/authorization-store.ts";
import { callOf, Reply, route, type RouteRules } from "./face.ts";
import { etagOf, versionIn } from "./schema.ts";
import { answersOf } from "./v1-apps-schema.ts";
import {
  AUTHORIZATION_EXAMPLE,
  type AuthorizationData,
  authorizationsData,
  authorizationsQuery,
  LINK_EXAMPLE,
  linkBody,
  linkData,
  newPlatformBody,
  platform,
  PLATFORM_EXAMPLE,
  platformChangeBody,
  type PlatformData,
  platformData,
  reconciledData,
  removalQuery,
} from "./v1-platforms-schema.ts";

const PAGE = 100;
/** How long WeChat may take for what an administrator waits for; its list may have many pages. */
const ASK_MS = 20_000;
const RECONCILE_MS = 120_000;

/** What the routes of platforms work with. */
export interface PlatformRouteParts {
  readonly access: Access;
  readonly directory: AppDirectory;
  readonly administration: Pick<AppAdministration, "refresh">;
  readonly platformAdministration: PlatformAdministration;
  readonly states: Pick<CredentialStates, "ofCredentials">;
  readonly callbacks: Pick<CallbackDirectory, "of">;
  readonly publicSide: Pick<PublicSide, "callbackUrlsOf">;
  readonly authorizationLinks: Pick<AuthorizationLinks, "create">;
  readonly authorizations: Pick<Authorizations, "reconcile">;
  /** Has WeChat push tickets of a component again. */
  readonly startPushing: (platform: Slot, signal: AbortSignal) => Promise<void>;
}

/** `/v1/platforms`: third-party platforms and what has authorized them; for administrators, and never a secret. */
export function platformRoutes(parts: PlatformRouteParts) {
  return new Elysia().use(settingRoutes(parts)).use(authorizationRoutes(parts));
}

function rulesOf({ access }: PlatformRouteParts): RouteRules {
  return { guard: (call) => access.admin(call), isClosed: true };
}

/** Before validation: only administrators learn what is wrong with a request. */
async function enter({ access, administration }: PlatformRouteParts, request: Request) {
  const actor = access.admin(callOf(request));
  await administration.refresh().catch(() => undefined);
  return { actor };
}

function settingRoutes(parts: PlatformRouteParts) {
  const { directory, platformAdministration: platforms } = parts;
  const rules = rulesOf(parts);
  const show = async (id: string, status = 200) => {
    const [data] = await platformsData(parts, [platforms.get(id)]);
    if (!data) throw new Error("a platform without data");
    return new Reply(data, { status, headers: { etag: etagOf(data.version) } });
  };
  return new Elysia({ prefix: "/v1/platforms" })
    .derive(({ request }) => enter(parts, request))
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
        const { kind, id, secret, title, provider } = body;
        const entry = { role: ROLE_NAMES[kind], id, secret: new Secret(secret), title, provider };
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
    );
}

function authorizationRoutes(parts: PlatformRouteParts) {
  const { directory, platformAdministration: platforms } = parts;
  const rules = rulesOf(parts);
  return new Elysia({ prefix: "/v1/platforms/:platform" })
    .derive(({ request }) => enter(parts, request))
    .get(
      "/authorizations",
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
          summary: "What has authorized a platform · 授权给该平台的账号",
          description:
            "Accounts or corps, sorted by name, in pages. Each is an app too: `/v1/apps/<app>`. 账号或企业，按名称排序，分页；每个同时也是一个应用。",
          tags: ["Platforms"],
          responses: answersOf("The accounts. 授权账号。", authorizationsData, {
            authorizations: [AUTHORIZATION_EXAMPLE],
          }),
        },
      }),
    )
    .post(
      "/links",
      async ({ params, body, actor }) => {
        const seconds = body.expires_in;
        const lifeMs = seconds === undefined ? undefined : seconds * 1000;
        const platform = platforms.get(params.platform);
        const { url, link } = await parts.authorizationLinks.create(platform, requestOf(body), {
          lifeMs,
          actor,
        });
        return new Reply({ url, state: link.state, expires_at: link.expiresAt }, { status: 201 });
      },
      route(rules, {
        params: Type.Object({ platform }),
        body: linkBody,
        detail: {
          summary: "Make a link by which an account authorizes a platform · 生成授权链接",
          description:
            "A page of this service with a link that leads to WeChat's or WeCom's; it may be opened as often as needed until it expires, each time with a code of its own. Of a suite it installs it, of a template of agency apps it shows WeCom's QR code. 打开后为本服务的页面，点击其中的链接前往微信或企业微信授权；到期前可多次打开，每次使用新的预授权码。",
          tags: ["Platforms"],
          responses: answersOf("The link. 授权链接。", linkData, LINK_EXAMPLE),
        },
      }),
    )
    .post(
      "/ticket",
      async ({ params }) => {
        const { id, role } = platforms.get(params.platform);
        if (role !== "component") throw noPushing();
        await parts.startPushing(directory.slotOfApp(id), AbortSignal.timeout(ASK_MS));
        return {};
      },
      route(rules, {
        params: Type.Object({ platform }),
        detail: {
          summary: "Have WeChat push the ticket again · 让微信恢复推送ticket",
          description:
            "Changes nothing where it is pushed; the next one comes within ten minutes. Of components only: WeCom's is pushed by hand in its console. Takes no body. 推送正常时无影响；10分钟内会收到下一个ticket。仅微信第三方平台；企业微信请在后台手动推送。无请求体。",
          tags: ["Platforms"],
          responses: answersOf("WeChat pushes. 微信会推送。", Type.Object({}), {}),
        },
      }),
    )
    .post(
      "/reconcile",
      async ({ params }) => {
        const { id, role } = platforms.get(params.platform);
        if (role === "provider") throw nothingToReconcile();
        return parts.authorizations.reconcile(directory.slotOfApp(id), AbortSignal.timeout(RECONCILE_MS));
      },
      route(
        { ...rules, seconds: RECONCILE_MS / 1000 },
        {
          params: Type.Object({ platform }),
          detail: {
            summary: "Compare with WeChat's list of accounts now · 立即与微信的授权账号列表核对",
            description:
              "Takes what is missing here, and marks as lost what WeChat has no more; it happens once a day on its own. Takes no body. 补上缺少的账号，并将微信侧已不存在的标为失效；每天会自动执行一次。无请求体。",
            tags: ["Platforms"],
            responses: answersOf("What was found. 核对结果。", reconciledData, { added: 0, lost: 0 }),
          },
        },
      ),
    );
}

function requestOf(body: (typeof linkBody)["static"]): LinkRequest {
  return {
    authType: body.auth_type,
    bizAppId: body.biz_app_id,
    categoryIds: body.category_ids,
    isMobile: body.mobile,
    isTest: body.test,
    returnUrl: body.return_url,
  };
}

function noPushing(): ServiceError {
  return new ServiceError(
    "conflict",
    "只有微信第三方平台可以这样恢复推送；企业微信请在服务商后台的应用详情中手动推送ticket (only WeChat's platforms can be asked: push WeCom's ticket by hand, on the suite's page of the provider's console)",
  );
}

function nothingToReconcile(): ServiceError {
  return new ServiceError("conflict", "服务商没有授权账号 (nobody authorizes a provider itself)");
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
  const { command, message } = publicSide.callbackUrlsOf(id);
  return { auth_url: command, message_url: message };
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
