import type { Static } from "@sinclair/typebox";
import type { pulledData, shownData } from "../api/v1-deliveries-schema.ts";
import { DELIVERY_STATES } from "../callbacks/delivery-store.ts";
import { apiPath } from "./api.ts";
import { APP, appOf, findOneOf } from "./argument-values.ts";
import {
  type Arguments,
  bilingual,
  type CommandSpec,
  option,
  type PositionalSpec,
  usageError,
} from "./arguments.ts";
import { confirm, managingCommand, YES } from "./managing.ts";
import { localTime, plainText, textFields, textTable } from "./terminal.ts";

type DeliveryData = Static<typeof pulledData>["deliveries"][number];
type ShownData = Static<typeof shownData>;

const LIMIT_DEFAULT = 50;
const ID: PositionalSpec = {
  name: "id",
  meaning: bilingual("The delivery's number in callbacks deliveries", "callbacks deliveries 中的编号"),
};
const FILTERS = [
  option("--target <target>", "Only this target's", "仅该目标"),
  option("--environment <name>", "Only this environment's", "仅该环境"),
  option(
    `--state ${DELIVERY_STATES.join("|")}`,
    "Only those in this state: dead were tried for a day in vain",
    "仅该状态：dead为一天内始终未送达",
  ),
];

/** `accesstoken callbacks deliveries …`: what became of pushes. */
export const DELIVERY_COMMANDS: readonly CommandSpec[] = [
  managingCommand({
    words: ["callbacks", "deliveries"],
    meaning: bilingual(
      "What became of an app's pushes, the newest first",
      "列出应用的推送投递情况，最新的在前",
    ),
    positionals: [APP],
    options: [
      ...FILTERS,
      option("--limit <n>", `How many at most. Default: ${LIMIT_DEFAULT}`, `最多条数，默认${LIMIT_DEFAULT}`),
    ],
    run: async ({ args, api, show }) => {
      const path = pathOf(args);
      const limit = args.findNumber("limit", { min: 1, max: 100_000 }) ?? LIMIT_DEFAULT;
      const list = { path, name: "deliveries", cursor: "after" } as const;
      const page = await api.list<"deliveries", DeliveryData>(list, filterOf(args), limit);
      await show(page, () => deliveriesText(page.deliveries));
    },
  }),
  managingCommand({
    words: ["callbacks", "delivery"],
    meaning: bilingual(
      "One delivery with its message, which is noted in the audit",
      "查看一次投递及其消息，会写入审计",
    ),
    positionals: [APP, ID],
    run: async ({ args, api, show }) => {
      const data = await api.get<ShownData>(pathOf(args, idOf(args)));
      await show(data, () => deliveryText(data));
    },
  }),
  managingCommand({
    words: ["callbacks", "replay"],
    meaning: bilingual(
      "Deliver again: one, or with --state all of that state",
      "重新投递：一次，或用 --state 指定状态的全部",
    ),
    positionals: [APP, { ...ID, isOptional: true }],
    options: FILTERS,
    run: async ({ args, api, show, terminal }) => {
      const isOne = args.isSet("id");
      if (isOne === args.isSet("state"))
        throw usageError("应给出 <id> 或 --state，二者之一 (give <id> or --state, one of the two)");
      const path = `${pathOf(args, isOne ? idOf(args) : undefined)}/replay`;
      let [n, after] = [0, ""];
      do {
        const body = { ...filterOf(args), ...(after === "" ? {} : { after }) };
        const { data } = await api.send<{ replayed: number; next?: string }>({
          ...{ method: "POST", path },
          ...(isOne ? {} : { body }),
        });
        [n, after] = [n + data.replayed, data.next ?? ""];
      } while (after !== "");
      await show(
        { replayed: n },
        () => bilingual(`${n} delivered again\n`, `已重新投递 ${n} 次\n`)[terminal.language],
      );
    },
  }),
  managingCommand({
    words: ["callbacks", "drop"],
    meaning: bilingual("Give a delivery up", "放弃一次投递"),
    positionals: [APP, ID],
    options: [YES],
    run: async (at) => {
      const id = idOf(at.args);
      await confirm(at, bilingual(`Give delivery ${id} up?`, `放弃投递 ${id}？`));
      const { data } = await at.api.send<object>({ method: "DELETE", path: pathOf(at.args, id) });
      await at.show(data, () => bilingual(`${id} is dropped\n`, `已放弃 ${id}\n`)[at.terminal.language]);
    },
  }),
];

/** Where an app's deliveries are, or one of them. */
function pathOf(args: Arguments, id?: string): string {
  const all = apiPath`/v1/apps/${appOf(args)}/deliveries`;
  return id === undefined ? all : `${all}/${id}`;
}

function idOf(args: Arguments): string {
  const id = args.get("id");
  if (/^[1-9]\d{0,14}$/.test(id)) return id;
  throw usageError("<id>: 应为投递的编号 (must be a delivery's number)");
}

function filterOf(args: Arguments): Record<string, string> {
  const filter = ["target", "environment", "state"].flatMap((name) => {
    const value = args.find(name);
    return value === undefined ? [] : [[name, value] as const];
  });
  findOneOf(args, "state", DELIVERY_STATES);
  return Object.fromEntries(filter);
}

/** `text`, or `event SCAN`. */
export function kindText({ type, event }: Pick<DeliveryData, "type" | "event">): string {
  return event === "" ? type || "?" : `${type} ${event}`;
}

function deliveriesText(deliveries: readonly DeliveryData[]): string {
  return textTable(deliveries, {
    ID: ({ id }) => String(id),
    RECEIVED: ({ received_at }) => localTime(received_at),
    MESSAGE: kindText,
    TARGET: ({ target }) => target,
    ROLE: ({ role }) => role,
    STATE: ({ state }) => state,
    TRIED: ({ attempts }) => String(attempts),
    ERROR: ({ error }) => error,
    NEXT: ({ due_at }) => localTime(due_at),
  });
}

function deliveryText(data: ShownData): string {
  const fields = textFields({
    id: String(data.id),
    push: data.dedupe_key,
    message: kindText(data),
    target: data.target,
    environment: data.environment,
    role: data.role,
    state: data.state,
    tried: String(data.attempts),
    error: data.error,
    received: localTime(data.received_at),
    next: localTime(data.due_at),
    ended: localTime(data.ended_at),
    expires: localTime(data.expires_at),
  });
  if (data.message === undefined) return fields;
  return `${fields}\n${data.message.split("\n").map(plainText).join("\n")}\n`;
}
