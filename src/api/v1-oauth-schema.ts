import { type Static, Type } from "@sinclair/typebox";

/** A list of redirect origins. */
export const origins = Type.Array(Type.String({ minLength: 1, maxLength: 300 }), {
  maxItems: 100,
  description:
    "Origins exactly as browsers send them, perhaps with the beginning of a path. The host may begin with one `*.`, which stands for one label. 源，须与浏览器发送的写法完全一致，可带路径前缀；域名可以 `*.` 开头，代表一级域名。",
  examples: [["https://dev.example.com", "https://h5.example.com/app"]],
});
/** The redirect origins of an app as they are shown. */
export const redirectOriginsData = Type.Object({
  app: Type.String(),
  return_url: Type.Optional(
    Type.String({
      description:
        "Where WeChat returns to: its domain is the one to enter in WeChat's console; absent without PUBLIC_URL. 微信跳转回来的地址，其域名须填入微信后台；未设置PUBLIC_URL时省略。",
    }),
  ),
  environments: Type.Array(
    Type.Object({
      environment: Type.String(),
      codes: Type.String({ description: "`raw` or `relay`: see /v1/environments. 见/v1/environments。" }),
      version: Type.Integer({
        description: "Of the environment; also in the ETag. 环境的版本，与ETag相同。",
      }),
      redirect_origins: origins,
    }),
  ),
});

/** The name of a verification file. */
export const fileName = Type.String({
  maxLength: 100,
  pattern: "^(MP|WW)_verify_[A-Za-z0-9]+\\.txt$",
  description: "As it was downloaded. 与下载时相同的文件名。",
  examples: ["MP_verify_a1B2c3D4e5F6g7H8.txt"],
});

/** The verification files as they are shown. */
export const verifyFilesData = Type.Object({ verify_files: Type.Array(fileName) });

/** The redirect origins of an app on the wire. */
export type RedirectOriginsData = Static<typeof redirectOriginsData>;
/** The verification files on the wire. */
export type VerifyFilesData = Static<typeof verifyFilesData>;

/** For the documentation. */
export const EXAMPLE = {
  app: "wx0000000000000001",
  return_url: "https://wx.example.com/connect/return",
  environments: [
    { environment: "dev", codes: "relay", version: 3, redirect_origins: ["https://dev.example.com"] },
  ],
};
