import { isRecord, Refusal, type SandboxRequest, text } from "./sandbox-request.ts";
import { tokenText } from "./issued-tokens.ts";

/** An uploaded file. */
export interface Medium {
  mediaId: string;
  type: string;
  contentType: string;
  bytes: Uint8Array;
  /** The description of a permanent video. */
  about?: { title: string; introduction: string };
}

/** How many uploads are kept; the oldest give way. */
const KEPT = 200;
const TYPES = new Set(["image", "voice", "video", "thumb", "file"]);

/** Media of one platform, in memory. */
export class MediaStore {
  readonly #media = new Map<string, Medium>();

  /**
   * Stores the part `media` of a multipart body, its type from the query or the part `type`, and for a permanent video what the part `description` says.
   *
   * @throws {Refusal} 40097 for a type that doesn't exist, 44001 for a file that is missing or empty.
   */
  async store(request: SandboxRequest): Promise<Medium> {
    const { file, description, type } = await uploadedFile(request);
    if (!TYPES.has(type)) throw new Refusal(40097, "invalid args");
    const bytes = new Uint8Array(await file.arrayBuffer());
    const about = aboutOf(description);
    const medium: Medium = {
      mediaId: tokenText(64),
      type,
      contentType: file.type || "application/octet-stream",
      bytes,
      ...(about && { about }),
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

/**
 * The part `media` of a multipart body, the text of its part `description` if there is one, and the type that was sent,
 * in the query or as a part.
 *
 * @throws {Refusal} 44001 for a file that is missing or empty.
 */
export async function uploadedFile(
  request: SandboxRequest,
): Promise<{ file: File; description: string | undefined; type: string }> {
  const form = await formOf(request);
  const type = request.query.get("type") ?? form?.get("type");
  const [file, description] = [form?.get("media"), form?.get("description")];
  if (!(file instanceof File) || file.size === 0) throw new Refusal(44001, "empty media data");
  return { file, description: textOf(description), type: textOf(type) ?? "" };
}

function textOf(part: unknown): string | undefined {
  return typeof part === "string" ? part : undefined;
}

async function formOf(request: SandboxRequest) {
  const contentType = request.headers["content-type"];
  const headers = { "Content-Type": typeof contentType === "string" ? contentType : "" };
  try {
    return await new Response(Buffer.from(request.body), { headers }).formData();
  } catch {
    // A body that is no multipart has no such part either.
    return undefined;
  }
}

function aboutOf(description: string | undefined): Medium["about"] {
  if (description === undefined) return undefined;
  try {
    const parsed: unknown = JSON.parse(description);
    if (isRecord(parsed)) return { title: text(parsed["title"]), introduction: text(parsed["introduction"]) };
  } catch {
    // Falls through: broken JSON and JSON that is no object get the same answer.
  }
  throw new Refusal(47001, "data format error");
}
