import type { Static } from "@sinclair/typebox";
import type { callersData, settingsData } from "../api/v1-settings.ts";
import { bilingual, type CommandSpec } from "./arguments.ts";
import { confirm, type Managing, managingCommand, YES } from "./managing.ts";
import { localTime, textFields, textTable } from "./terminal.ts";

type Settings = Static<typeof settingsData>;
type Callers = Static<typeof callersData>;

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
      const callers = await at.api.get<Callers>("/v1/settings/anonymous-callers");
      await at.show(
        { ...settings, ...callers },
        () => `${textFields({ ...settings })}${callersText(callers)}`,
      );
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
      const callers = await at.api.get<Callers>("/v1/settings/anonymous-callers");
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
      "应答可信网段内没有密钥的调用方",
    ),
    run: (at) => change(at, "on"),
  }),
];

async function change({ api, show, note }: Managing, anonymous: Settings["anonymous"]): Promise<void> {
  const path = "/v1/settings";
  const { data } = await api.send<Settings>({ method: "PATCH", path, body: { anonymous } });
  await show(data, () => textFields({ ...data }));
  if (data.anonymous_by === "environment")
    note(
      bilingual(
        `It is stored, but ANONYMOUS=${data.anonymous} in the environment wins while it is set`,
        `已保存，但环境变量 ANONYMOUS=${data.anonymous} 优先，设置期间以其为准`,
      ),
    );
}

function callersText({ callers }: Callers): string {
  if (callers.length === 0) return "";
  return textTable(callers, {
    CALLER: ({ caller }) => caller,
    APP: ({ app }) => app,
    COUNT: ({ count }) => String(count),
  });
}
