import { CREDENTIAL_KINDS } from "../credentials/kinds.ts";
import type { Static } from "@sinclair/typebox";
import { isVirtualToken } from "../credentials/virtual-tokens.ts";
import type { credentialData } from "../api/v1-credentials.ts";
import { type ApiAnswer, apiPath } from "./api.ts";
import { type CommandSpec, option, bilingual } from "./arguments.ts";
import { localTime } from "./terminal.ts";
import { type Managing, managingCommand } from "./managing.ts";
import { APP, appOf, kindOf, parseDuration } from "./argument-values.ts";

/** The limit of the service. */
const MAX_MIN_TTL_SECONDS = 240;

const KIND = option(
  "--kind <kind>",
  `Which credential: ${CREDENTIAL_KINDS.join(", ")}. Default: access_token`,
  `凭证种类：${CREDENTIAL_KINDS.join("、")}；默认access_token`,
);

const VIRTUAL = bilingual(
  "A virtual token: it works through this service only, and WeChat itself does not know it",
  "这是虚拟token，只能经本服务使用，微信本身不认识它",
);

type CredentialData = Static<typeof credentialData>;

/** `accesstoken token …`: an app's credentials. */
export const TOKEN_COMMANDS: readonly CommandSpec[] = [
  managingCommand({
    words: ["token", "get"],
    meaning: bilingual("Print a token or ticket, and nothing else", "输出token或ticket（只输出值本身）"),
    positionals: [APP],
    options: [
      KIND,
      option(
        "--min-ttl <duration>",
        `Minimum remaining lifetime, as 60 or 2m; ${MAX_MIN_TTL_SECONDS} seconds at most`,
        `至少还应有效的时间，如 60 或 2m，最多${MAX_MIN_TTL_SECONDS}秒`,
      ),
    ],
    run: async ({ args, api, show, note }) => {
      const minTtl = args.find("min-ttl");
      const seconds = minTtl === undefined ? 0 : parseDuration("min-ttl", minTtl, MAX_MIN_TTL_SECONDS);
      const query = seconds === 0 ? "" : `?min_ttl=${seconds}`;
      const data = await api.get<CredentialData>(credentialPath(args) + query);
      await show(data, () => `${data.value}\n`);
      if (isVirtualToken(data.value)) note(VIRTUAL);
    },
  }),
  managingCommand({
    words: ["token", "clear"],
    meaning: bilingual(
      "Clear a token or ticket; the next request gets a new one",
      "清除token或ticket，下次请求时重新获取",
    ),
    positionals: [APP],
    options: [KIND],
    run: async ({ args, api, show, terminal }) => {
      const [app, kind] = [appOf(args), kindOf(args)];
      const { data } = await api.send<object>({ method: "DELETE", path: credentialPath(args) });
      const text = bilingual(`${kind} of ${app} is cleared\n`, `已清除 ${app} 的 ${kind}\n`);
      await show(data, () => text[terminal.language]);
    },
  }),
  managingCommand({
    words: ["token", "refresh"],
    meaning: bilingual("Ask WeChat for a token or ticket now", "立即向微信获取token或ticket"),
    positionals: [APP],
    options: [
      KIND,
      option(
        "--force",
        "Have WeChat issue a new one; the old one is valid for up to 5 minutes more, or until the next --force. 20 times a day, 30 s apart",
        "强制微信生成新值；旧值最多再有效5分钟，或到下一次 --force 为止。每日20次，间隔30秒",
      ),
    ],
    run: refreshToken,
  }),
];

async function refreshToken({ args, api, show, terminal }: Managing): Promise<void> {
  const [app, kind] = [appOf(args), kindOf(args)];
  const answer: ApiAnswer<CredentialData> = await api.send({
    method: "POST",
    path: `${credentialPath(args)}/refresh`,
    body: args.isSet("force") ? { force: true } : {},
  });
  const until = localTime(answer.data.expires_at);
  const text = bilingual(
    `${kind} of ${app} is valid until ${until}\n`,
    `${app} 的 ${kind} 有效至 ${until}\n`,
  );
  await show(answer.data, () => text[terminal.language]);
}

function credentialPath(args: Managing["args"]): string {
  return apiPath`/v1/apps/${appOf(args)}/credentials/${kindOf(args)}`;
}
