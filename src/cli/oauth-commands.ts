import { basename } from "node:path";
import type { RedirectOriginsData, VerifyFilesData } from "../api/v1-oauth-schema.ts";
import { apiPath } from "./api.ts";
import { APP, appOf, findList } from "./argument-values.ts";
import { bilingual, type CommandSpec, option, type PositionalSpec, usageError } from "./arguments.ts";
import { readPublicFile } from "./file-arguments.ts";
import { type Managing, managingCommand } from "./managing.ts";
import { textTable } from "./terminal.ts";

const ENVIRONMENT: PositionalSpec = {
  name: "environment",
  meaning: bilingual("The environment that clients carry, as dev", "客户端所属的环境，如 dev"),
};
const REDIRECT_ORIGIN = "redirect-origin";
const ORIGINS = option(
  `--${REDIRECT_ORIGIN} <origin,…>`,
  "Exactly as browsers send it, as https://dev.example.com; with a path, only below it; https://*.dev.example.com for every host one label below",
  "须与浏览器发送的写法完全一致，如 https://dev.example.com；带路径时仅限该路径之下；https://*.dev.example.com 表示下一级的任意域名",
);

/** `accesstoken origins …`: where web logins may return to. */
export const ORIGIN_COMMANDS: readonly CommandSpec[] = [
  managingCommand({
    words: ["origins", "list"],
    meaning: bilingual("Where the web logins of an app may return to", "查看应用的网页登录可以返回到哪里"),
    positionals: [APP],
    run: async (at) => showOrigins(at, await readOrigins(at)),
  }),
  originCommand("add", "Let web logins return there, too", "增加可以返回到的来源", (origins, given) => [
    ...new Set([...origins, ...given]),
  ]),
  originCommand("remove", "Let web logins return there no more", "去掉可以返回到的来源", (origins, given) =>
    origins.filter((each) => !given.includes(each)),
  ),
];

/** `accesstoken domains …`: the files by which WeChat sees that a domain is ours. */
export const DOMAIN_COMMANDS: readonly CommandSpec[] = [
  managingCommand({
    words: ["domains", "list"],
    meaning: bilingual("The verification files at the root", "列出根路径下的域名校验文件"),
    run: async ({ api, show }) => {
      const data = await api.get<VerifyFilesData>("/v1/verify-files");
      await show(data, () => filesText(data));
    },
  }),
  managingCommand({
    words: ["domains", "verify-file"],
    meaning: bilingual(
      "Put a verification file at the root, as WeChat's console gave it",
      "将微信后台下载的域名校验文件放到根路径",
    ),
    positionals: [
      {
        name: "file",
        meaning: bilingual(
          "MP_verify_….txt or WW_verify_….txt, under its own name",
          "MP_verify_….txt 或 WW_verify_….txt，不要改名",
        ),
      },
    ],
    run: async ({ args, api, show }) => {
      const file = args.get("file");
      const path = apiPath`/v1/verify-files/${basename(file)}`;
      const { data } = await api.send<VerifyFilesData>({
        method: "PUT",
        path,
        body: { content: readPublicFile(file) },
      });
      await show(data, () => filesText(data));
    },
  }),
  managingCommand({
    words: ["domains", "remove"],
    meaning: bilingual("Remove a verification file", "移除域名校验文件"),
    positionals: [{ name: "name", meaning: bilingual("As listed", "列表中的文件名") }],
    run: async ({ args, api, show }) => {
      const path = apiPath`/v1/verify-files/${args.get("name")}`;
      const { data } = await api.send<VerifyFilesData>({ method: "DELETE", path });
      await show(data, () => filesText(data));
    },
  }),
];

function originCommand(
  word: "add" | "remove",
  english: string,
  chinese: string,
  change: (origins: readonly string[], given: readonly string[]) => readonly string[],
): CommandSpec {
  return managingCommand({
    words: ["origins", word],
    meaning: bilingual(english, chinese),
    positionals: [APP, ENVIRONMENT],
    options: [ORIGINS],
    surplusHint: `来源用 --${REDIRECT_ORIGIN} 给出 (give origins by --${REDIRECT_ORIGIN})`,
    run: async (at) => {
      const given = findList(at.args, REDIRECT_ORIGIN);
      if (!given) throw usageError(`缺少 --${REDIRECT_ORIGIN} (--${REDIRECT_ORIGIN} is missing)`);
      const environment = at.args.get("environment");
      const { environments } = await readOrigins(at);
      const current = environments.find((each) => each.environment === environment);
      const path = apiPath`/v1/apps/${appOf(at.args)}/redirect-origins/${environment}`;
      const { data } = await at.api.send<RedirectOriginsData>({
        method: "PUT",
        path,
        // Nothing that another changes meanwhile is lost.
        ...(current ? { ifMatch: `"${current.version}"` } : {}),
        body: { redirect_origins: change(current?.redirect_origins ?? [], given) },
      });
      await showOrigins(at, data);
    },
  });
}

function readOrigins({ args, api }: Managing): Promise<RedirectOriginsData> {
  return api.get<RedirectOriginsData>(apiPath`/v1/apps/${appOf(args)}/redirect-origins`);
}

async function showOrigins({ show, note }: Managing, data: RedirectOriginsData): Promise<void> {
  const rows = data.environments.flatMap(({ redirect_origins, ...of }) =>
    redirect_origins.map((origin) => ({ ...of, origin })),
  );
  await show(data, () =>
    textTable(rows, {
      ENVIRONMENT: ({ environment }) => environment,
      CODES: ({ codes }) => codes,
      "REDIRECT ORIGIN": ({ origin }) => origin,
    }),
  );
  if (data.return_url === undefined)
    note(bilingual("PUBLIC_URL is not set: WeChat can't return here", "未设置PUBLIC_URL：微信无法跳转回来"));
}

function filesText({ verify_files: files }: VerifyFilesData): string {
  return textTable(files, { FILE: (file) => file });
}
