import { isAdmin } from "../access/client.ts";
import { ServiceError } from "../errors.ts";
import { apiPath } from "./api.ts";
import { type CommandSpec, usageError, option, bilingual } from "./arguments.ts";
import type { ClientData } from "../api/v1-clients-schema.ts";
import type { KeyData } from "../api/v1-keys-schema.ts";
import { createClient, firstSteps } from "./client.ts";
import {
  ALL_APPS,
  CLIENT,
  clientOf,
  EXPIRES,
  keyNameOf,
  leakedKeyNameOf,
  parseDuration,
  parseInstant,
} from "./argument-values.ts";
import { localTime, plainText, textFields } from "./terminal.ts";
import { type Managing, managingCommand } from "./managing.ts";
import { keysPath, keysText, makeKey } from "./new-key.ts";

/** The client of `keys create --admin`, and its environment. */
const ADMIN = "admin";
const MAX_OVERLAP_SECONDS = 604_800;

const OUT = option(
  "--out <file>",
  "Write the key into a new file that only you may read, and don't show it",
  "将密钥写入新文件（仅本人可读），不在屏幕上显示",
);
const KEY_MEANING = bilingual(
  "The key's first 12 characters, as keys list shows them",
  "密钥的前12个字符，即 keys list 所示",
);

const LEAKED_KEY_MEANING = bilingual(
  `${KEY_MEANING.en}; of a key that has leaked the whole will do`,
  `${KEY_MEANING.zh}；已泄露的密钥也可给出全文`,
);

/** `accesstoken keys …`: the API keys of clients. */
export const KEY_COMMANDS: readonly CommandSpec[] = [
  managingCommand({
    words: ["keys", "create"],
    meaning: bilingual("Make an API key of a client; it is shown once", "为客户端生成API密钥，只显示一次"),
    positionals: [{ ...CLIENT, isOptional: true }],
    options: [
      option(
        "--admin",
        "Instead of a client's: a key of the client admin, which is made if there is none",
        "不指定客户端，为名为admin的管理员生成密钥，不存在则先创建",
      ),
      option("--label <text>", "What people call the key. Default: default", "便于识别的名称，默认default"),
      EXPIRES,
      OUT,
    ],
    mayCreate: true,
    run: createKey,
  }),
  managingCommand({
    words: ["keys", "list"],
    meaning: bilingual("A client's keys, never the keys themselves", "列出客户端的密钥（不含密钥本身）"),
    positionals: [CLIENT],
    run: async (at) => {
      const data = await at.api.get<{ keys: readonly KeyData[] }>(keysPath(clientOf(at.args)));
      await at.show(data, () => keysText(data.keys));
    },
  }),
  managingCommand({
    words: ["keys", "find"],
    meaning: bilingual("Whose key it is, and how it is", "查看密钥属于哪个客户端及其状态"),
    positionals: [{ name: "key", meaning: LEAKED_KEY_MEANING }],
    run: async ({ args, api, show }) => {
      const key = leakedKeyNameOf(args.get("key"));
      const data = await api.get<KeyData & { client: string }>(apiPath`/v1/keys/${key}`);
      await show(data, () => `${textFields({ client: data.client })}${keysText([data])}`);
    },
  }),
  managingCommand({
    words: ["keys", "roll"],
    meaning: bilingual(
      "Replace a key by a new one; the old one stays valid for a while",
      "轮换密钥：生成新密钥，旧密钥在重叠期后失效",
    ),
    positionals: [
      CLIENT,
      {
        name: "key",
        isOptional: true,
        meaning: bilingual(
          `${KEY_MEANING.en}; may be left out where there is one active key`,
          `${KEY_MEANING.zh}；只有一个有效密钥时可省略`,
        ),
      },
    ],
    options: [
      option(
        "--overlap <duration>",
        "How long the old one stays valid, as 12h; 7d at most. Default: 24h",
        "旧密钥继续有效的时间，如 12h，最长7d，默认24h",
      ),
      OUT,
    ],
    run: rollKey,
  }),
  managingCommand({
    words: ["keys", "revoke"],
    meaning: bilingual("Revoke a key at once, whoever's it is", "立即吊销密钥，无须知道属于哪个客户端"),
    positionals: [
      { ...CLIENT, isOptional: true },
      { name: "key", meaning: LEAKED_KEY_MEANING },
    ],
    run: async ({ args, api, show, terminal }) => {
      const key = leakedKeyNameOf(args.get("key"));
      const path = args.isSet("client") ? `${keysPath(clientOf(args))}/${key}` : apiPath`/v1/keys/${key}`;
      const { data } = await api.send<object>({ method: "DELETE", path });
      await show(data, () => bilingual(`${key} is revoked\n`, `已吊销 ${key}\n`)[terminal.language]);
    },
  }),
];

async function createKey(at: Managing): Promise<void> {
  const { args, terminal } = at;
  if (args.isSet("admin") === args.isSet("client")) {
    throw usageError("应给出 <client> 或 --admin，二者之一 (give <client> or --admin, one of the two)");
  }
  const client = args.isSet("admin") ? ADMIN : clientOf(args);
  const [label, expires] = [args.find("label"), args.find("expires")];
  const body = {
    ...(label === undefined ? {} : { label }),
    ...(expires === undefined
      ? {}
      : { expires_at: parseInstant("expires", expires, terminal.clock.now(), false) }),
  };
  const created = await makeKey(at, client, async () => {
    if (args.isSet("admin")) await haveAdmin(at);
    return { path: keysPath(client), body };
  });
  at.note(firstSteps(at, created));
}

async function rollKey(at: Managing): Promise<void> {
  const { args, api } = at;
  const client = clientOf(args);
  const overlap = args.find("overlap");
  const body =
    overlap === undefined ? {} : { overlap: parseDuration("overlap", overlap, MAX_OVERLAP_SECONDS) };
  const given = args.find("key");
  const keys = async () => (await api.get<{ keys: readonly KeyData[] }>(keysPath(client))).keys;
  let key = given === undefined ? "" : keyNameOf(given);
  await makeKey(at, client, async () => {
    key ||= onlyKey(await keys());
    return { path: `${keysPath(client)}/${key}/roll`, body };
  });
  // Without an overlap the old one may have been the one that this command asks with.
  const old = (await keys().catch(() => [])).find((each) => each.key === key);
  const end = localTime(old?.revoked_at ?? old?.expires_at);
  const name = plainText(key);
  at.note(
    end === undefined
      ? bilingual(`It replaces ${name}`, `它取代 ${name}`)
      : bilingual(`It replaces ${name}, which ends at ${end}`, `它取代 ${name}，后者于 ${end} 失效`),
  );
}

/** Creates the administrator `admin` unless there is one. */
async function haveAdmin(at: Managing): Promise<void> {
  const client = await at.api.find<ClientData>(apiPath`/v1/clients/${ADMIN}`);
  if (client && !isAdmin(client)) throw notAdmin();
  if (client) return;
  await createClient(at, {
    client: ADMIN,
    environment: ADMIN,
    grants: [{ apps: [ALL_APPS], actions: ["admin"] }],
  });
}

function onlyKey(keys: readonly KeyData[]): string {
  const active = keys.filter(({ state }) => state === "active").map(({ key }) => key);
  const [key] = active;
  if (key === undefined) {
    throw usageError("没有有效密钥，请用 keys create (there is no active key: make one by keys create)");
  }
  if (active.length === 1) return key;
  const names = plainText(active.join(", "));
  throw usageError(`有多个有效密钥，请给出 <key> (there are several active keys, say which): ${names}`);
}

function notAdmin(): ServiceError {
  return new ServiceError(
    "conflict",
    "名为admin的客户端已存在，但不是管理员 (there is a client named admin, and it is no administrator)",
    {
      hint: "请先执行 accesstoken clients grant admin --actions admin (first: accesstoken clients grant admin --actions admin)",
    },
  );
}
