/** What a server of the sandbox is about to send; faults may still change it. */
export interface Answer {
  status: number;
  headers: Record<string, string>;
  body: string | Uint8Array;
}

/** The exact content type that each family of endpoints puts on its JSON. */
export const JSON_TYPE = {
  /** api.weixin.qq.com below `/cgi-bin`: it says `encoding` where everybody else says `charset`. */
  cgiBin: "application/json; encoding=utf-8",
  /** api.weixin.qq.com below `/sns`. */
  sns: "text/plain",
  /** qyapi.weixin.qq.com. */
  wecom: "application/json; charset=utf-8",
} as const;

/** A JSON answer with HTTP 200, which both platforms use for errors too. */
export function jsonAnswer(contentType: string, body: object): Answer {
  return { status: 200, headers: { "Content-Type": contentType }, body: JSON.stringify(body) };
}
