/** What the tests use of wechat-jssdk, which has no types of its own. */
declare module "wechat-jssdk" {
  interface Signature {
    appId: string;
    url: string;
    nonceStr: string;
    timestamp: string;
    signature: string;
  }
  export class Wechat {
    constructor(options: object);
    jssdk: {
      getSignature(url: string, forced?: boolean): Promise<Signature>;
      getAccessToken(): Promise<{ access_token: string; expires_in: number }>;
      getJsApiTicket(token: string): Promise<{ ticket: string }>;
    };
    card: {
      /** JSON. */
      getCardExt(cardId: string): Promise<string>;
    };
    oauth: {
      getUserInfo(code: string): Promise<object>;
    };
    miniProgram: {
      getSession(code: string): Promise<object>;
    };
    store: {
      getGlobalToken(): Promise<{ accessToken: string }>;
      destroy(): void;
    };
  }
}
