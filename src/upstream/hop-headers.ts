/** Headers that are about one connection (RFC 9110 7.6.1), whichever way they go. */
const HOP = [
  "connection",
  "keep-alive",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "proxy-connection",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-authentication-info",
];

/** A copy of `headers` without those that are about one connection only, and without the ones of these names. */
export function endToEndHeaders(headers: Headers, without: readonly string[] = []): Headers {
  const copy = new Headers(headers);
  const named = headers.get("connection");
  if (named !== null) {
    // What is no header's name can't be the name of one that is there.
    for (const name of named.split(",")) if (TOKEN.test(name.trim())) copy.delete(name.trim());
  }
  for (const name of HOP) copy.delete(name);
  for (const name of without) copy.delete(name);
  return copy;
}

const TOKEN = /^[\w!#$%&'*+.^`|~-]+$/;
