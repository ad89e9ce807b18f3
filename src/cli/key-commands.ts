import { isAdmin } from "../access/client.ts";
import { ServiceError } from "../errors.ts";
import { apiPath, ApiRefusal } from "./api.ts";
import { type CommandSpec, type OptionSpec, usageError } from "./arguments.ts";
import { type ClientData, createClient } from "./client.ts";
import { ALL_APPS, CLIENT, clientOf, keyNameOf, parseDuration, parseInstant } from "./argument-values.ts";
import { plainText } from "./terminal.ts";
import { type Managing, managingCommand } from "./managing.ts";
import { type KeyData, keysPath, keysText, makeKey } from "./new-key.ts";

/** The client of `keys create --admin`, and its environment. */
const ADMIN = "admin";
const MAX_OVERLAP_SECONDS = 604_800;

const OUT: OptionSpec = {
  name: "out",
  value: "<file>",
  meaning: {
    en: "Write the key into a new file that only you may read, and don't show it",
    zh: "将密钥写入新文件（仅本人可读），不在屏幕上显示",
  },
};
const KEY_MEANING = {
  en: "The key's first 12 characters, as keys list shows them",
  zh: "密钥的前12个字符，即 keys list 所示",
};

/** `accesstoken keys …`: the API keys of clients. */
export const KEY_COMMANDS: readonly CommandSpec[] = [
  managingCommand({
    words: ["keys", "create"],
    meaning: { en: "Make an API key of a client; it is shown once", zh: "为客户端生成API密钥，只显示一次" },
    positionals: [{ ...CLIENT, isOptional: true }],
    options: [
      {
        name: "admin",
        meaning: {
          en: "Instead of a client's: a key of the client admin, which is made if there is none",
          zh: "不指定客户端，为名为admin的管理员生成密钥，不存在则先创建",
        },
      },
      {
        name: "label",
        value: "<text>",
        meaning: { en: "What people call the key. Default: default", zh: "便于识别的名称，默认default" },
      },
      {
        name: "expires",
        value: "<time>",
        meaning: {
          en: "When it expires, as 2027-01-31 or 90d. Default: never",
          zh: "失效时间，如 2027-01-31 或 90d；默认不失效",
        },
      },
      OUT,
    ],
    mayCreate: true,
    run: createKey,
  }),
  managingCommand({
    words: ["keys", "list"],
    meaning: { en: "A client's keys, never the keys themselves", zh: "列出客户端的密钥（不含密钥本身）" },
    positionals: [CLIENT],
    run: async (at) => {
      const data = await at.api.get<{ keys: readonly KeyData[] }>(keysPath(clientOf(at.args)));
      await at.show(data, () => keysText(data.keys));
    },
  }),
  managingCommand({
    words: ["keys", "roll"],
    meaning: {
      en: "Replace a key by a new one; the old one stays valid for a while",
      zh: "轮换密钥：生成新密钥，旧密钥在重叠期后失效",
    },
    positionals: [
      CLIENT,
      {
        name: "key",
        isOptional: true,
        meaning: {
          en: `${KEY_MEANING.en}; may be left out where there is one active key`,
          zh: `${KEY_MEANING.zh}；只有一个有效密钥时可省略`,
        },
      },
    ],
    options: [
      {
        name: "overlap",
        value: "<duration>",
        meaning: {
          en: "How long the old one stays valid, as 12h; 7d at most. Default: 24h",
          zh: "旧密钥继续有效的时间，如 12h，最长7d，默认24h",
        },
      },
      OUT,
    ],
    run: rollKey,
  }),
  managingCommand({
    words: ["keys", "revoke"],
    meaning: { en: "Revoke a key at once", zh: "立即吊销密钥" },
    positionals: [CLIENT, { name: "key", meaning: KEY_MEANING }],
    run: async ({ args, api, show, terminal }) => {
      const key = keyNameOf(args.get("key"));
      const path = `${keysPath(clientOf(args))}/${key}`;
      const { data } = await api.send<object>({ method: "DELETE", path });
      await show(data, () => ({ en: `${key} is revoked\n`, zh: `已吊销 ${key}\n` })[terminal.language]);
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
  await makeKey(at, client, async () => {
    if (args.isSet("admin")) await haveAdmin(at);
    return { path: keysPath(client), body };
  });
}

async function rollKey(at: Managing): Promise<void> {
  const { args, api } = at;
  const client = clientOf(args);
  const overlap = args.find("overlap");
  const body =
    overlap === undefined ? {} : { overlap: parseDuration("overlap", overlap, MAX_OVERLAP_SECONDS) };
  const given = args.find("key");
  const name = given === undefined ? undefined : keyNameOf(given);
  await makeKey(at, client, async () => {
    const key = name ?? onlyKey((await api.get<{ keys: readonly KeyData[] }>(keysPath(client))).keys);
    return { path: `${keysPath(client)}/${key}/roll`, body };
  });
}

/** Creates the administrator `admin` unless there is one. */
async function haveAdmin(at: Managing): Promise<void> {
  try {
    const client = await at.api.get<ClientData>(apiPath`/v1/clients/${ADMIN}`);
    if (!isAdmin(client)) throw notAdmin();
  } catch (error) {
    if (!(error instanceof ApiRefusal) || error.status !== 404) throw error;
    await createClient(at, {
      client: ADMIN,
      environment: ADMIN,
      grants: [{ apps: [ALL_APPS], actions: ["admin"] }],
    });
  }
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
