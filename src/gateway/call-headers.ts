/**
 * What a caller says to us, or a proxy on the way says of the caller: none of it is WeChat's business. Nor is what has
 * some servers take another path or method than the request's, which is the one that was checked.
 */
const OURS =
  /^(authorization|x-api-key|cookie|forwarded|x-forwarded(-.*)?|x-real-ip|via|x-(cluster-)?client-ip|true-client-ip|cf-.*|expect|x-original-.*|x-rewrite-url|x-envoy-.*|x-(http-)?method(-override)?)$/;

/** The headers of a request that go up: all but those that are between the caller and us. */
export function headersUp(headers: Headers): Headers {
  const up = new Headers(headers);
  for (const name of headers.keys()) if (OURS.test(name)) up.delete(name);
  return up;
}
