/** A body as its library announces it. */
interface AnnouncedBody {
  /** None where the library sends none. */
  readonly type: string | undefined;
  /** Undefined for one that is sent chunked. */
  readonly length: number | undefined;
}

/** The header lines that an HTTP library sends of its own accord, in its order and spelling; the body's included. */
export type HttpLibrary = (host: string, body: AnnouncedBody | undefined) => string[];

/** Apache HttpClient 4.5, which WxJava uses unless it is told otherwise. */
export const apacheHttpClient: HttpLibrary = (host, body) => [
  ...framing(body),
  ...typeOf(body),
  `Host: ${host}`,
  "Connection: Keep-Alive",
  "User-Agent: Apache-HttpClient/4.5.13 (Java/1.8.0_402)",
  "Accept-Encoding: gzip,deflate",
];

/** OkHttp 4, WxJava's second choice. */
export const okHttp: HttpLibrary = (host, body) => [
  ...typeOf(body),
  ...framing(body),
  `Host: ${host}`,
  "Connection: Keep-Alive",
  "Accept-Encoding: gzip",
  "User-Agent: okhttp/4.12.0",
];

/** Go's net/http: silenceper/wechat and go-workwx. */
export const netHttp: HttpLibrary = (host, body) => [
  `Host: ${host}`,
  "User-Agent: Go-http-client/1.1",
  ...framing(body),
  ...typeOf(body),
  "Accept-Encoding: gzip",
];

/** The same below PowerLibs, which PowerWeChat uses: it asks for anything. */
export const powerLibs: HttpLibrary = (host, body) => [
  `Host: ${host}`,
  "User-Agent: Go-http-client/1.1",
  ...framing(body),
  "Accept: */*",
  ...typeOf(body),
  "Accept-Encoding: gzip",
];

/** Symfony's HttpClient on curl, under EasyWeChat's own name. */
export const symfonyHttpClient: HttpLibrary = (host, body) => [
  `Host: ${host}`,
  ...typeOf(body),
  "User-Agent: easywechat-sdk/6.19.1.0 OS/Linux/5.15.0-91-generic curl/8.5.0",
  "Accept: */*",
  "Accept-Encoding: gzip",
  ...framing(body),
];

/** Python's requests: wechatpy. */
export const requests: HttpLibrary = (host, body) => [
  `Host: ${host}`,
  "User-Agent: python-requests/2.31.0",
  "Accept-Encoding: gzip, deflate",
  "Accept: */*",
  "Connection: keep-alive",
  ...framing(body),
  ...typeOf(body),
];

/** .NET's HttpClient as Senparc.CO2NET sets it up: it says that it is a browser. */
export const co2Net: HttpLibrary = (host, body) => [
  `Host: ${host}`,
  "Accept: text/html, application/xhtml+xml, application/xml; q=0.9, image/webp, */*; q=0.8",
  "Timeout: 10000",
  "KeepAlive: true",
  "User-Agent: Mozilla/5.0 (Windows NT 10.0; WOW64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/61.0.3163.100 Safari/537.36",
  "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
  ...typeOf(body),
  ...framing(body),
];

/** .NET Framework's HttpWebRequest, with which the older Senparc works: a body waits until it is told to come. */
export const httpWebRequest: HttpLibrary = (host, body) => [
  "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8",
  "User-Agent: Mozilla/5.0 (Windows NT 6.1; WOW64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/31.0.1650.57 Safari/537.36",
  ...typeOf(body),
  `Host: ${host}`,
  ...framing(body),
  ...(body ? ["Expect: 100-continue"] : []),
  "Connection: Keep-Alive",
];

function framing(body: AnnouncedBody | undefined): string[] {
  if (!body) return [];
  return [body.length === undefined ? "Transfer-Encoding: chunked" : `Content-Length: ${body.length}`];
}

function typeOf(body: AnnouncedBody | undefined): string[] {
  return body?.type === undefined ? [] : [`Content-Type: ${body.type}`];
}
