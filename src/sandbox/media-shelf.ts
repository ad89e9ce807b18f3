import type { SandboxRequest } from "./sandbox-request.ts";
import { Refusal } from "./refusal.ts";
import { tokenText } from "./token-text.ts";

/** A file that somebody uploaded. */
export interface Medium {
  mediaId: string;
  type: string;
  contentType: string;
  bytes: Uint8Array;
}

/** How many uploads are kept; the oldest give way. */
const KEPT = 200;
const TYPES = new Set(["image", "voice", "video", "thumb", "file"]);

/** The temporary media of one platform, in memory. */
export class MediaShelf {
  readonly #media = new Map<string, Medium>();

  /**
   * Stores the part `media` of a multipart body.
   *
   * @throws {Refusal} 40097 for a type that doesn't exist, 44001 for a file that is missing or empty.
   */
  async store(request: SandboxRequest): Promise<Medium> {
    const type = request.query.get("type") ?? "";
    if (!TYPES.has(type)) throw new Refusal(40097, "invalid args");
    const file = await mediaPart(request);
    if (file === undefined || file.size === 0) throw new Refusal(44001, "empty media data");

    const bytes = new Uint8Array(await file.arrayBuffer());
    const medium = {
      mediaId: tokenText(64),
      type,
      contentType: file.type || "application/octet-stream",
      bytes,
    };
    this.#media.set(medium.mediaId, medium);
    if (this.#media.size > KEPT) {
      const [oldest] = this.#media.keys();
      if (oldest !== undefined) this.#media.delete(oldest);
    }
    return medium;
  }

  /**
   * The upload with that id.
   *
   * @throws {Refusal} 40007.
   */
  get(mediaId: string): Medium {
    const medium = this.#media.get(mediaId);
    if (medium === undefined) throw new Refusal(40007, "invalid media_id");
    return medium;
  }
}

/** The headers of a download; WeChat closes the connection after it. */
export function downloadHeaders(medium: Medium): Record<string, string> {
  const extension = medium.contentType.replace(/^.*\//, "").replace("jpeg", "jpg");
  return {
    "Content-Type": medium.contentType,
    "Content-disposition": `attachment; filename="${medium.mediaId}.${extension}"`,
    Connection: "close",
  };
}

async function mediaPart(request: SandboxRequest): Promise<File | undefined> {
  const contentType = request.headers["content-type"];
  if (typeof contentType !== "string") return undefined;
  try {
    const form = await new Response(Buffer.from(request.body), {
      headers: { "Content-Type": contentType },
    }).formData();
    const part = form.get("media");
    return part instanceof File ? part : undefined;
  } catch {
    // A body that is no multipart has no such part either.
    return undefined;
  }
}
