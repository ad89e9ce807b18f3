/** What the tests use of wechat, which has no types of its own. */
declare module "wechat" {
  interface Message {
    readonly FromUserName: string;
    readonly Content: string;
    readonly MsgId: string;
  }
  interface Request {
    method: string;
    query: Record<string, string>;
    rawBody: Uint8Array;
    weixin: Message;
  }
  interface Response {
    writeHead(status: number): void;
    end(body: string): void;
    reply(content: string): void;
  }
  type Middleware = (request: object, response: object, next: (error: Error) => void) => void;
  function wechat(
    config: { token: string; appid: string; encodingAESKey: string },
    handle: (request: Request, response: Response) => void,
  ): Middleware;
  export default wechat;
}
