import type { AnonymousCallers, Settings } from "../api/v1-settings-schema.ts";
import { bilingual, type CommandSpec, type Text } from "./arguments.ts";
import { confirm, type Managing, managingCommand, YES } from "./managing.ts";
import { localTime, textFields, textTable } from "./terminal.ts";

/** `accesstoken anonymous …`: whether callers without a key are answered. */
export const ANONYMOUS_COMMANDS: readonly CommandSpec[] = [
  managingCommand({
    words: ["anonymous", "status"],
    meaning: bilingual(
      "Whether callers without a key are answered, and who they were in the last day",
      "查看是否应答没有密钥的调用方，以及最近一天有哪些",
    ),
    run: async (at) => {
      const settings = await at.api.get<Settings>("/v1/settings");
      const callers = await at.api.get<AnonymousCallers>("/v1/settings/anonymous-callers");
      const state = stateOf(settings);
      await at.show({ ...state, ...callers }, () => `${textFields(state)}${callersText(callers)}`);
    },
  }),
  managingCommand({
    words: ["anonymous", "off"],
    meaning: bilingual("Refuse callers without a key from now on", "从现在起拒绝没有密钥的调用方"),
    notes: [
      bilingual(
        "Lists the last day's callers first, and asks on a terminal where there were any.",
        "先列出最近一天的调用方；如有且在终端上执行，则先询问。",
      ),
    ],
    options: [YES],
    run: async (at) => {
      const callers = await at.api.get<AnonymousCallers>("/v1/settings/anonymous-callers");
      at.note(
        bilingual(
          `Called without a key since ${localTime(callers.since)}: ${callers.callers.length === 0 ? "none" : ""}`,
          `自 ${localTime(callers.since)} 起没有密钥的调用方：${callers.callers.length === 0 ? "无" : ""}`,
        ),
      );
      const text = callersText(callers).trimEnd();
      if (text !== "") at.note(bilingual(text, text));
      const question = bilingual("Refuse all of them from now on?", "从现在起全部拒绝？");
      if (text !== "" && at.terminal.hasPerson) await confirm(at, question);
      await change(at, "off");
    },
  }),
  managingCommand({
    words: ["anonymous", "on"],
    meaning: bilingual(
      "Answer callers from TRUSTED_NETWORKS without a key",
      "应答可信网络内没有密钥的调用方",
    ),
    run: (at) => change(at, "on"),
  }),
];

/** `accesstoken cors …`: whose pages may call the signature routes from the browser. */
export const CORS_COMMANDS: readonly CommandSpec[] = [
  managingCommand({
    words: ["cors", "list"],
    meaning: bilingual(
      "The origins whose pages may call the signature routes from the browser",
      "列出允许其网页在浏览器中调用签名接口的源",
    ),
    run: async ({ api, show }) => {
      const settings = await api.get<Settings>("/v1/settings");
      await show(originsOf(settings), () => originsText(settings));
    },
  }),
  corsCommand("add", bilingual("List one more origin", "增加一个源"), (origins, origin) => [
    ...new Set([...origins, origin]),
  ]),
  corsCommand("remove", bilingual("List an origin no more", "去掉一个源"), (origins, origin) =>
    origins.filter((each) => each !== origin),
  ),
  managingCommand({
    words: ["cors", "reset"],
    meaning: bilingual("Go by CORS_ORIGINS again", "恢复为 CORS_ORIGINS 的设置"),
    run: (at) => setOrigins(at, null),
  }),
];

function corsCommand(
  word: "add" | "remove",
  meaning: Text,
  change: (origins: readonly string[], origin: string) => readonly string[],
): CommandSpec {
  return managingCommand({
    words: ["cors", word],
    meaning,
    notes: [
      bilingual(
        "From the first change on the list is in the database and takes the place of CORS_ORIGINS.",
        "第一次修改之后，列表保存在数据库中，取代 CORS_ORIGINS。",
      ),
    ],
    positionals: [
      { name: "origin", meaning: bilingual("As https://www.example.com", "如 https://www.example.com") },
    ],
    run: async (at) => {
      const { cors_origins: origins } = await at.api.get<Settings>("/v1/settings");
      await setOrigins(at, change(origins, at.args.get("origin")));
    },
  });
}

async function setOrigins({ api, show }: Managing, origins: readonly string[] | null): Promise<void> {
  const body = { cors_origins: origins };
  const { data } = await api.send<Settings>({ method: "PATCH", path: "/v1/settings", body });
  await show(originsOf(data), () => originsText(data));
}

function originsOf({ cors_origins, cors_origins_by }: Settings) {
  return { cors_origins, cors_origins_by };
}

function originsText({ cors_origins: origins, cors_origins_by: by }: Settings): string {
  return textTable(origins, { ORIGIN: (origin) => origin, BY: () => by });
}

async function change({ api, show, note }: Managing, anonymous: Settings["anonymous"]): Promise<void> {
  const path = "/v1/settings";
  const { data } = await api.send<Settings>({ method: "PATCH", path, body: { anonymous } });
  await show(stateOf(data), () => textFields(stateOf(data)));
  if (data.anonymous_by === "environment")
    note(
      bilingual(
        `It is stored, but ANONYMOUS=${data.anonymous} in the environment wins while it is set`,
        `已保存，但环境变量 ANONYMOUS=${data.anonymous} 优先，设置期间以其为准`,
      ),
    );
}

function stateOf({ anonymous, anonymous_by }: Settings) {
  return { anonymous, anonymous_by };
}

function callersText({ callers }: AnonymousCallers): string {
  if (callers.length === 0) return "";
  return textTable(callers, {
    CALLER: ({ caller }) => caller,
    APP: ({ app }) => app,
    COUNT: ({ count }) => String(count),
  });
}
