import { Elysia } from "elysia";
import { type Call, callOf } from "../api/face.ts";
import { ServiceError } from "../errors.ts";

/** Nothing is loaded but from here, and no script runs. */
const PAGE_POLICY =
  "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/** A picture's styles are inside it. */
const PICTURE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

const PAGE = { type: "text/html; charset=utf-8", policy: PAGE_POLICY };
const KINDS: Readonly<Record<string, { readonly type: string; readonly policy?: string }>> = {
  css: { type: "text/css; charset=utf-8" },
  md: { type: "text/plain; charset=utf-8" },
  svg: { type: "image/svg+xml; charset=utf-8", policy: PICTURE_POLICY },
};
const HIDDEN = { detail: { hide: true } };

/** What the documents' routes work with. */
export interface DocumentParts {
  /** Throws when the caller may not see them. */
  readonly admit: (call: Call) => void;
}

/** `/docs/`: the documents as pages, in both languages, and as the Markdown that they are made of. */
export function documentRoutes({ admit }: DocumentParts) {
  const answer = async ({ request }: { readonly request: Request }): Promise<Response> => {
    const call = callOf(request);
    admit(call);
    const path = call.path.slice("/docs/".length);
    // Relative links need the slash.
    if (call.path === "/docs") return redirect("docs/");
    if (path === "zh") return redirect("zh/");
    if (path === "" && prefersChinese(request)) return redirect("zh/", { vary: "accept-language" });
    return file(path === "" || path === "zh/" ? `${path}README` : path, request);
  };
  return new Elysia().get("/docs", answer, HIDDEN).get("/docs/*", answer, HIDDEN);
}

async function file(path: string, request: Request): Promise<Response> {
  // Half a megabyte, which is unpacked when it is first asked for.
  const { DOCUMENT_FILES } = await import("./document-files.ts");
  const found = DOCUMENT_FILES.get(path);
  if (!found) throw new ServiceError("not_found", "页面不存在");
  const { type, policy } = KINDS[path.split(".")[1] ?? ""] ?? PAGE;
  const headers = {
    "content-type": type,
    "cache-control": "private, no-cache",
    etag: found.etag,
    ...(path === "README" ? { vary: "accept-language" } : {}),
    ...(policy === undefined ? {} : { "content-security-policy": policy }),
  };
  return request.headers.get("if-none-match") === found.etag
    ? new Response(null, { status: 304, headers })
    : new Response(found.body, { headers });
}

function redirect(location: string, headers: Record<string, string> = {}): Response {
  return new Response(null, { status: 302, headers: { location, ...headers } });
}

/** Whether Chinese comes before English among the languages that the caller's browser asks for. */
function prefersChinese({ headers }: Request): boolean {
  const [first] = headers.get("accept-language")?.match(/\b(zh|en)\b/i) ?? [];
  return first?.toLowerCase() === "zh";
}
