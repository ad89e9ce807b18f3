/** What the tests use of co-wechat-api, which has no types of its own. */
declare module "co-wechat-api" {
  export default class Api {
    constructor(appId: string, secret: string);
    prefix: string;
    snsPrefix: string;
    setOpts(options: { timeout: number }): void;
    ensureAccessToken(): Promise<{ accessToken: string }>;
    getIp(): Promise<object>;
    sendText(openId: string, text: string): Promise<object>;
    getJsConfig(page: { url: string; jsApiList: string[] }): Promise<{
      appId: string;
      nonceStr: string;
      timestamp: string;
      signature: string;
    }>;
    getCardExt(card: { card_id: string }): Promise<{ timestamp: string; signature: string }>;
    uploadMedia(path: string, type: string): Promise<{ media_id: string }>;
    getMedia(mediaId: string): Promise<Buffer>;
    code2Session(code: string): Promise<object>;
  }
}
