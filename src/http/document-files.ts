import { buildDocuments } from "./build-documents.ts" with { type: "macro" };

/** A file below `/docs/`. */
export interface DocumentFile {
  readonly body: string;
  /** Changes with the body. */
  readonly etag: string;
}

const files = JSON.parse(
  new TextDecoder().decode(Bun.zstdDecompressSync(Buffer.from(buildDocuments(), "base64"))),
) as Record<string, string>;

/** Every file below `/docs/` by its path; pages have no extension. Import it when it is asked for: it is large. */
export const DOCUMENT_FILES: ReadonlyMap<string, DocumentFile> = new Map(
  Object.entries(files).map(([path, body]) => [path, { body, etag: `"${Bun.hash(body).toString(36)}"` }]),
);
