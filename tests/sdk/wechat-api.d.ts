/** What the tests use of wechat-api, which has no types of its own. */
declare module "wechat-api" {
  type Callback<T> = (error: (Error & { code?: number }) | null, answer: T) => void;

  export default class API {
    constructor(appId: string, secret: string);
    endpoint: string;
    fileServerPrefix: string;
    setOpts(options: { timeout: number }): void;
    getIp(callback: Callback<object>): void;
    sendText(openId: string, text: string, callback: Callback<object>): void;
    getJsConfig(
      page: { url: string; jsApiList: string[] },
      callback: Callback<{ appId: string; nonceStr: string; timestamp: string; signature: string }>,
    ): void;
    uploadMedia(path: string, type: string, callback: Callback<{ media_id: string }>): void;
    getMedia(mediaId: string, callback: Callback<Buffer>): void;
  }
}
