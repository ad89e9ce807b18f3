import { failureStatus } from "../envelope.ts";
import { ServiceError } from "../errors.ts";
import { textResponse } from "./answer.ts";
import { type Call, failed } from "./face.ts";

/** A page for a person, in both languages; it loads nothing, and all of it is escaped here. */
export interface PersonPage {
  readonly title: string;
  readonly heading: string;
  readonly lines: readonly string[];
  /** A link that looks like what it is. */
  readonly link?: { readonly href: string; readonly text: string } | undefined;
}

/** The page as an answer, with `headers`. */
export function personResponse(
  { title, heading, lines, link }: PersonPage,
  {
    traceId,
    status,
    headers,
  }: { traceId: string; status?: number; headers?: Readonly<Record<string, string>> },
): Response {
  const shown = lines.filter(Boolean).map((line) => `<p>${Bun.escapeHTML(line)}</p>`);
  if (link) shown.push(`<p><a href="${Bun.escapeHTML(link.href)}">${Bun.escapeHTML(link.text)}</a></p>`);
  const text = `<!doctype html>
<html lang="zh">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${Bun.escapeHTML(title)}</title></head>
<body>
<h1>${Bun.escapeHTML(heading)}</h1>
${shown.join("\n")}
<p><small>trace_id: ${traceId}</small></p>
</body>
</html>
`;
  return textResponse(text, { contentType: "text/html; charset=utf-8", traceId, status, headers });
}

/**
 * What went wrong, for the person at the browser, in both languages; nothing of the request is on it but what is given. It is
 * noted as the call's outcome.
 */
export function faultResponse(
  error: unknown,
  call: Call,
  { title, heading, link }: Omit<PersonPage, "lines">,
): Response {
  const status = failureStatus(error);
  call.outcome = failed(status, error);
  const isTold = error instanceof ServiceError && error.code !== "internal";
  const message = isTold ? error.message : "服务内部错误，请稍后重试 (internal error: try again later)";
  const [, chinese = message, english = ""] = /^(.*?) \((.*)\)$/s.exec(message) ?? [];
  const errcode = isTold && error.upstream ? `errcode: ${error.upstream.errcode}` : "";
  return personResponse(
    { title, heading, lines: [chinese, english, errcode], link },
    { traceId: call.traceId, status },
  );
}
