import { type Static, Type } from "@sinclair/typebox";
import { baseUrl, expiresAt } from "./v1-clients-schema.ts";
import { MAX_OVERLAP_MS } from "../access/client-administration.ts";

/** The key of a path: its public prefix. */
export const key = Type.String({
  pattern: "^ats_[0-9A-Za-z]{8}$",
  description: "The public prefix of a key. 密钥的公开前缀。",
  examples: ["ats_4fGh7Kq2"],
});

/** The body of a new key. */
export const newKeyBody = Type.Object(
  {
    label: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 64,
        pattern: "^[^\\x00-\\x1f\\x7f]+$",
        description:
          "Display name; unique among the client's valid keys. Default `default`. 密钥名称，在该客户端的有效密钥中唯一，默认 `default`。",
        examples: ["laptop of Li"],
      }),
    ),
    expires_at: Type.Optional(expiresAt),
  },
  { additionalProperties: false },
);

/** The body of a roll. */
export const rollBody = Type.Object(
  {
    overlap: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: MAX_OVERLAP_MS / 1000,
        description:
          "Seconds for which the old key stays valid, at most 7 days, default one day. 旧密钥继续有效的秒数，最长7天，默认1天。",
        examples: [86_400],
      }),
    ),
  },
  { additionalProperties: false },
);

const keyFields = {
  key: Type.String({ description: "The public prefix. 公开前缀。" }),
  label: Type.String(),
  state: Type.Union(
    [Type.Literal("active"), Type.Literal("expired"), Type.Literal("revoked"), Type.Literal("damaged")],
    {
      description:
        "`damaged`: its record can't be read, so it is accepted no more; create another. `damaged`：记录已损坏，不再接受，请另建密钥。",
    },
  ),
  created_at: Type.Integer(),
  expires_at: Type.Optional(Type.Integer()),
  revoked_at: Type.Optional(Type.Integer()),
  replaced_by: Type.Optional(
    Type.String({
      description:
        "The key that was made in its place by a roll; it ends at `expires_at`. 轮换时取代它的密钥；它于 `expires_at` 失效。",
    }),
  ),
  last_used_at: Type.Optional(Type.Integer({ description: "To the minute. 精确到分钟。" })),
};

/** One key as it is shown. */
export const keyData = Type.Object(keyFields);

/** A key as it is shown. */
export type KeyData = Static<typeof keyData>;

/** One key and whose it is. */
export const foundKeyData = Type.Object({ client: Type.String(), ...keyFields });

/** A new key. */
export const createdKeyData = Type.Object({
  ...keyFields,
  api_key: Type.String({ description: "The key itself, shown only now. 密钥本身，仅显示这一次。" }),
  base_url: baseUrl,
});

/** A new key as it is shown, this one time. */
export type CreatedKeyData = Static<typeof createdKeyData>;

/** A key for the documentation. */
export const KEY_EXAMPLE = {
  key: "ats_4fGh7Kq2",
  label: "default",
  state: "active",
  created_at: 1_795_320_000_000,
  last_used_at: 1_795_320_060_000,
};
