import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type { Access } from "../access/access.ts";
import { ANY_APP } from "../access/client.ts";
import type { EnvironmentDirectory } from "../access/environments.ts";
import { actorOf } from "../access/principal.ts";
import { notReadBack } from "../apps/app-administration.ts";
import type { AppDirectory } from "../apps/app-directory.ts";
import { type App, nameOfApp } from "../apps/app.ts";
import type { PublicSide } from "../apps/public-side.ts";
import type { AuditAction, AuditEntry } from "../audit/audit-entry.ts";
import { ServiceError } from "../errors.ts";
import {
  type RedirectOrigins,
  type RedirectOriginStore,
  readRedirectOrigin,
  redirectOriginText,
  whyNoLogins,
} from "../oauth/redirect-origins.ts";
import { checkVerifyFile, type VerifyFiles, type VerifyFileStore } from "../oauth/verify-files.ts";
import { RETURN_PATH } from "../oauth/web-logins.ts";
import { type Call, callOf, Reply, route, type RouteRules } from "./face.ts";
import { etagOf, versionIn } from "./schema.ts";
import { answersOf, app } from "./v1-apps-schema.ts";
import { environment } from "./v1-clients-schema.ts";
import { EXAMPLE, fileName, origins, redirectOriginsData, verifyFilesData } from "./v1-oauth-schema.ts";

/** What the routes of web logins work with. */
export interface OauthRouteParts {
  readonly access: Access;
  readonly directory: AppDirectory;
  readonly publicSide: Pick<PublicSide, "urlOf">;
  readonly redirectOrigins: Pick<RedirectOrigins, "of" | "refresh">;
  readonly environments: Pick<EnvironmentDirectory, "find" | "refresh">;
  readonly verifyFiles: Pick<VerifyFiles, "names" | "refresh">;
  readonly originStore: RedirectOriginStore & VerifyFileStore;
}

/** `/v1/apps/:app/redirect-origins` and `/v1/verify-files`: what web logins go by. */
export function oauthRoutes(parts: OauthRouteParts) {
  return new Elysia().use(originRoutes(parts)).use(fileRoutes(parts));
}

function originRoutes(parts: OauthRouteParts) {
  const { access, directory, environments, publicSide, redirectOrigins, originStore } = parts;
  const rules: RouteRules = {
    guard: (call, { app: name = "" }) => access.checkGrant(call, "oauth:manage", name),
    isClosed: true,
  };
  const show = (app: App) => {
    const name = nameOfApp(app);
    const groups = Map.groupBy(redirectOrigins.of(name), (each) => each.environment);
    return {
      app: name,
      return_url: publicSide.urlOf(name, RETURN_PATH),
      environments: [...groups].map(([key, list]) => ({
        environment: key,
        codes: environments.find(key)?.codes ?? "relay",
        version: environments.find(key)?.version ?? 0,
        redirect_origins: list.map(redirectOriginText),
      })),
    };
  };
  const refresh = async () => {
    await Promise.all([redirectOrigins.refresh(), environments.refresh()]);
  };
  /** The app of that name, or the account of that AppID that the caller may manage. */
  const named = (request: Request, name: string) =>
    directory.get(access.checkGrant(callOf(request), "oauth:manage", name));
  return new Elysia({ prefix: "/v1/apps/:app/redirect-origins" })
    .get(
      "",
      async ({ params, request }) => {
        const held = named(request, params.app);
        await refresh();
        return show(held);
      },
      route(rules, {
        params: Type.Object({ app }),
        detail: {
          summary: "Where web logins may return to · 查看网页登录的回调来源",
          description: "By environment. Needs `oauth:manage`. 按环境列出；需要 `oauth:manage`。",
          tags: ["oauth"],
          responses: answersOf("The redirect origins. 回调来源。", redirectOriginsData, EXAMPLE),
        },
      }),
    )
    .put(
      "/:environment",
      async ({ params, body, request }) => {
        const call = callOf(request);
        const held = named(request, params.app);
        const list = body.redirect_origins.map(readRedirectOrigin);
        const reason = list.length > 0 ? whyNoLogins(held) : undefined;
        if (reason !== undefined) throw new ServiceError("invalid_parameter", reason);
        const name = nameOfApp(held);
        const entry = entryOf(call, "redirect_origins.updated", name, {
          of: params.environment,
          redirect_origins: list.map(redirectOriginText),
        });
        const owner = { app: name, environment: params.environment };
        await originStore.replace(owner, list, versionIn(request.headers), entry);
        await readBack({ refresh });
        const version = environments.find(params.environment)?.version ?? 0;
        return new Reply(show(held), { headers: { etag: etagOf(version) } });
      },
      route(rules, {
        params: Type.Object({ app, environment }),
        body: Type.Object({ redirect_origins: origins }, { additionalProperties: false }),
        detail: {
          summary: "Set where web logins of an environment may return to · 设置某环境的回调来源",
          description:
            "Puts the list in the place of what is there; an empty one removes it. Needs `oauth:manage`. 以此列表取代现有的；空列表为全部移除。需要 `oauth:manage`。",
          tags: ["oauth"],
          responses: answersOf("The redirect origins. 回调来源。", redirectOriginsData, EXAMPLE),
        },
      }),
    );
}

function fileRoutes({ access, verifyFiles, originStore }: OauthRouteParts) {
  const rules: RouteRules = {
    guard: (call) => access.checkGrant(call, "oauth:manage", ANY_APP),
    isClosed: true,
  };
  const data = verifyFilesData;
  const example = { verify_files: ["MP_verify_a1B2c3D4e5F6g7H8.txt"] };
  const show = () => ({ verify_files: [...verifyFiles.names] });
  return new Elysia({ prefix: "/v1/verify-files" })
    .get(
      "",
      async () => {
        await verifyFiles.refresh();
        return show();
      },
      route(rules, {
        detail: {
          summary: "Verification files · 查看域名校验文件",
          description:
            "At the root of every host, so that WeChat sees the domain to be ours. Needs `oauth:manage` on every app. 位于根路径，供微信确认域名归属。需要对全部应用有 `oauth:manage`。",
          tags: ["oauth"],
          responses: answersOf("Their names. 文件名。", data, example),
        },
      }),
    )
    .put(
      "/:name",
      async ({ params, body, request }) => {
        const file = { name: params.name, content: body.content };
        checkVerifyFile(file);
        await originStore.putFile(
          file,
          entryOf(callOf(request), "verify_file.updated", "", { of: params.name }),
        );
        await readBack(verifyFiles);
        return show();
      },
      route(rules, {
        params: Type.Object({ name: fileName }),
        body: Type.Object(
          {
            content: Type.String({
              minLength: 1,
              maxLength: 258,
              description: "What it holds: one line. 文件内容，仅一行。",
              examples: ["a1B2c3D4e5F6g7H8"],
            }),
          },
          { additionalProperties: false },
        ),
        detail: {
          summary: "Put a verification file in place · 放置域名校验文件",
          description: "Needs `oauth:manage` on every app. 需要对全部应用有 `oauth:manage`。",
          tags: ["oauth"],
          responses: answersOf("Their names. 文件名。", data, example),
        },
      }),
    )
    .delete(
      "/:name",
      async ({ params, request }) => {
        await originStore.removeFile(
          params.name,
          entryOf(callOf(request), "verify_file.deleted", "", { of: params.name }),
        );
        await readBack(verifyFiles);
        return show();
      },
      route(rules, {
        params: Type.Object({ name: fileName }),
        detail: {
          summary: "Remove a verification file · 移除域名校验文件",
          description: "Needs `oauth:manage` on every app. 需要对全部应用有 `oauth:manage`。",
          tags: ["oauth"],
          responses: answersOf("Their names. 文件名。", data, example),
        },
      }),
    );
}

async function readBack(mirror: { refresh(): Promise<void> }): Promise<void> {
  try {
    await mirror.refresh();
  } catch (cause) {
    throw notReadBack(cause);
  }
}

function entryOf(
  call: Call,
  action: AuditAction,
  app: string,
  detail: Readonly<Record<string, unknown>>,
): AuditEntry {
  return { ...actorOf(call.principal, call), action, app, outcome: "ok", tokenDigest: "", detail };
}
